// The images of a training by name, as a checkpoint keeps them: which were on which side, and what
// they held.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "onecycle/dataset.h"

namespace onecycle {

struct ImageList {
    std::vector<std::string> classes;  // as in Dataset
    std::vector<Sample> train,
        valid;                     // likewise, but without sizes in pixels; of unpack() also without paths
    bool automatic_split = false;  // likewise
};

ImageList image_list(const Dataset& dataset);

// Names may hold any bytes. Each is kept as what it adds to the one before, so that an image of a
// large set takes some 20 bytes. Equal lists give equal bytes.
std::vector<std::uint8_t> pack(const ImageList& list);

// pack(image_list(dataset)), without the copy.
std::vector<std::uint8_t> pack_image_list(const Dataset& dataset);

// Throws std::runtime_error for bytes that pack() did not make.
ImageList unpack(std::span<const std::uint8_t> bytes);

// How a folder's images differ from those of a list, by name and contents.
struct ListDifference {
    std::size_t known = 0, changed = 0, missing = 0, added = 0;
    std::set<std::pair<bool, std::int64_t>>
        gone{};  // changed or missing: whether of the training side, index
};

// The list as a dataset: its sides, classes and order, with the paths of `found`, which was opened
// the same way. An image that `found` lacks or has with other contents stays in its place, to fail
// when it is read.
Dataset listed_dataset(const ImageList& list, const Dataset& found, ListDifference& difference);

// What a model that was trained on the images of a list has not seen.
struct UnseenImages {
    std::vector<Sample> samples;  // to be evaluated: held out, or new
    std::size_t held_out = 0;     // images of the list's evaluation side
    std::size_t added = 0;        // images that are not in the list
    std::size_t trained_on = 0;   // left out
    std::size_t changed = 0;      // of these: have a training image's name, but other contents
    std::size_t missing = 0;      // images of the list that are not here
    bool same_names = false;      // other images, though most have the name of one in the list
};

// `samples` are told apart by what they hold, whatever their names are now. One with the name of a
// training image and other contents counts as trained on where the folder is that of the training:
// at least as many images as have changed are what they were. `one_side`: only evaluation images
// are looked for, so none of the training side is missing.
UnseenImages unseen_images(const ImageList& list, const std::vector<Sample>& samples, bool one_side);

}  // namespace onecycle
