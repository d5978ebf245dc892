// An entry of the table of a resident set: images that stay in device memory as 8-bit RGB, [height,
// width, 3].
#pragma once

#include <cstdint>

namespace onecycle {

struct ResidentImage {
    std::int64_t offset;         // bytes from the first image
    std::int32_t width, height;  // 0: there is none, and another sample takes its place
    std::int32_t label;
    std::int32_t unused;  // zero
};

}  // namespace onecycle
