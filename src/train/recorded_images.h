// The list of images that a checkpoint carries.
#pragma once

#include <optional>
#include <string>

#include "data/image_list.h"
#include "onecycle/options.h"
#include "onecycle/tensor_file.h"

namespace onecycle {

// Its tensor: the bytes of pack().
inline constexpr const char* images_tensor = "dataset.images";

// Empty where a file has none: it is from elsewhere, or older. Throws Error(model) for one that is
// damaged.
std::optional<ImageList> recorded_images(const TensorFile& file);

// config.json of a run: its options and the digest() of its images, by which reopen_dataset() tells
// the run's own checkpoints from those of another one with the same options.
std::string run_config(const TrainOptions& options, const std::string& dataset_digest);

// That digest of the file; empty where an earlier version or a program of the user's wrote it.
std::string images_of_config(const std::string& path);

}  // namespace onecycle
