// From a decoded image to the square that the network sees: the evaluation view, and the random
// views of training. All on 8-bit RGB; a view is a pure function of (image, policy, size, seed,
// epoch, sample).
#pragma once

#include <cstdint>
#include <string>

#include "onecycle/image.h"

namespace onecycle {

// none: the evaluation view.  flip: the evaluation view, mirrored half of the time.
// standard: a random resized crop (area .35 to 1, ratio 3/4 to 4/3), mirrored half of the time.
// strong: see describe().
enum class AugmentPolicy { none, flip, standard, strong };

// "none", "flip", "standard" or "strong"; anything else is Error(usage).
AugmentPolicy parse_augment(const std::string& name);
std::string to_string(AugmentPolicy policy);

// What the policy does, one sentence for the help text.
std::string describe(AugmentPolicy policy);

// True for the policies whose source is the whole image, of which they cut a random part.
bool crops_at_random(AugmentPolicy policy);

// Much smaller values would overflow int for very elongated images.
inline constexpr double least_crop_pct = 0.1;

// What evaluation sees (size x size): the short side resized to round(size / crop_pct), the long
// side to int(short * long / short_old), then the centre crop with offset round-half-even((side -
// size) / 2), as torchvision. An image that is exactly size x size is returned as it is. crop_pct
// is at least least_crop_pct and at most 1.
Image evaluation_view(const Image& image, int size, double crop_pct);

// What training sees of `image` (size x size) in `epoch`. `sample` is the index in the list of good
// training files. For `none` and `flip` the view is made from evaluation_view().
struct ViewKey {
    std::uint64_t seed = 0;
    std::uint32_t epoch = 0;
    std::uint64_t sample = 0;
};
Image training_view(const Image& image, AugmentPolicy policy, int size, double crop_pct, const ViewKey& key);

}  // namespace onecycle
