// write_safetensors() in any file system.
#pragma once

#include "core/file.h"
#include "onecycle/tensor_file.h"

namespace onecycle {

std::string write_safetensors(const std::string& path, const std::vector<TensorSource>& tensors,
                              const std::map<std::string, std::string>& metadata, FileSystem& fs);

}  // namespace onecycle
