// The file of a sample as an image.
#pragma once

#include "onecycle/dataset.h"
#include "onecycle/image.h"

namespace onecycle {

// Decodes the file. `min_short_side`: as DecodeOptions. Throws ImageError, also when the file is not of the size that
// the list says.
Image decode_sample(const Sample& sample, int min_short_side);

// What a random crop is cut from may be decoded down to this: a crop of 35 % of the area has 59 % of the side, still
// more pixels than the view.
constexpr int short_side_for_crops(int size) {
    return 2 * size;
}

}  // namespace onecycle
