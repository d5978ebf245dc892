// The file of a sample as an image.
#pragma once

#include <memory>

#include "onecycle/dataset.h"
#include "onecycle/image.h"

namespace onecycle {

// The file's bytes. Throws ImageError, also when it is not the one that the list was made from, by
// its size and contents.
std::vector<std::uint8_t> read_sample(const Sample& sample);

// Decodes the file. `min_short_side`: as DecodeOptions; `budget`: as ImageLimits::memory. Throws
// ImageError as read_sample().
Image decode_sample(const Sample& sample, int min_short_side,
                    const std::shared_ptr<DecodeBudget>& budget = {});

// Opens the file without reading it, and returns when it was last changed, in nanoseconds. Throws
// ImageError, as decode_sample() does, where the file cannot be opened or has another size: so an
// image that is kept fails no later than one that is not.
std::int64_t check_file_of(const Sample& sample);

// What a random crop is cut from may be decoded down to this: a crop of 35 % of the area has 59 %
// of the side, still more pixels than the view.
constexpr int short_side_for_crops(int size) {
    return 2 * size;
}

}  // namespace onecycle
