#include "core/tensor.h"

#include <algorithm>
#include <vector>

namespace onecycle {

const char* name_of(DType type) {
    static constexpr const char* names[] = {"f32", "i32", "u8", "bf16", "f16"};
    return names[static_cast<std::size_t>(type)];
}

const char* name_of(Layout layout) {
    static constexpr const char* names[] = {"plain",      "nhwc",   "nChw8c",  "nChw16c",
                                            "ohwi",       "Ohwi8o", "Ohwi16o", "OIhw8i8o",
                                            "OIhw16i16o", "nhwc8c", "ohwi8i",  "any"};
    return names[static_cast<std::size_t>(layout)];
}

std::string to_string(const TensorDesc& desc) {
    std::string text = "[";
    for (int i = 0; i < desc.rank; ++i) text += (i ? "," : "") + std::to_string(desc[i]);
    text += std::string("] ") + name_of(desc.type);
    if (desc.layout != Layout::plain) text += std::string(" ") + name_of(desc.layout);
    return text;
}

std::int64_t offset_of(const TensorDesc& desc, std::int64_t i0, std::int64_t i1, std::int64_t i2,
                       std::int64_t i3) {
    const std::int64_t d1 = desc.rank > 1 ? desc[1] : 1, d2 = desc.rank > 2 ? desc[2] : 1,
                       d3 = desc.rank > 3 ? desc[3] : 1;
    // [d0, d1/b, d2, d3, b]
    const auto blocked_second = [&](std::int64_t b) {
        return (((i0 * (d1 / b) + i1 / b) * d2 + i2) * d3 + i3) * b + i1 % b;
    };
    // [d0/b, d2, d3, d1, b]
    const auto blocked_first = [&](std::int64_t b) {
        return ((((i0 / b) * d2 + i2) * d3 + i3) * d1 + i1) * b + i0 % b;
    };
    // [d0/b, d1/b, d2, d3, b (of d1), b (of d0)]
    const auto blocked_both = [&](std::int64_t b) {
        return (((((i0 / b) * (d1 / b) + i1 / b) * d2 + i2) * d3 + i3) * b + i1 % b) * b + i0 % b;
    };
    switch (desc.layout) {
        case Layout::nhwc:
        case Layout::ohwi:
            return ((i0 * d2 + i2) * d3 + i3) * d1 + i1;
        case Layout::nhwc8c:
        case Layout::ohwi8i:
            return ((i0 * d2 + i2) * d3 + i3) * ((d1 + 7) / 8 * 8) + i1;
        case Layout::nChw8c:
            return blocked_second(8);
        case Layout::nChw16c:
            return blocked_second(16);
        case Layout::Ohwi8o:
            return blocked_first(8);
        case Layout::Ohwi16o:
            return blocked_first(16);
        case Layout::OIhw8i8o:
            return blocked_both(8);
        case Layout::OIhw16i16o:
            return blocked_both(16);
        case Layout::plain:
        case Layout::any:
            break;
    }
    return ((i0 * d1 + i1) * d2 + i2) * d3 + i3;
}

namespace {

// In every layout an entry's offset is a sum of one part for each of its indices, so tables of
// those parts do. Rows of the first index are taken sixteen together: those of a block share their
// cache lines.
template <typename Visit>
void for_each_entry(const TensorDesc& desc, Visit visit) {
    const std::int64_t d0 = desc.rank > 0 ? desc[0] : 1, d1 = desc.rank > 1 ? desc[1] : 1,
                       d2 = desc.rank > 2 ? desc[2] : 1, d3 = desc.rank > 3 ? desc[3] : 1, plane = d2 * d3;
    std::vector<std::int64_t> first, second, rest;
    for (std::int64_t i = 0; i < d0; ++i) first.push_back(offset_of(desc, i));
    for (std::int64_t i = 0; i < d1; ++i) second.push_back(offset_of(desc, 0, i));
    for (std::int64_t i = 0; i < plane; ++i) rest.push_back(offset_of(desc, 0, 0, i / d3, i % d3));
    constexpr std::int64_t together = 16;
    for (std::int64_t begin = 0; begin < d0; begin += together)
        for (std::int64_t i1 = 0; i1 < d1; ++i1)
            for (std::int64_t i0 = begin; i0 < std::min(begin + together, d0); ++i0) {
                const std::int64_t plain = (i0 * d1 + i1) * plane;
                const std::int64_t stored =
                    first[static_cast<std::size_t>(i0)] + second[static_cast<std::size_t>(i1)];
                for (std::int64_t i = 0; i < plane; ++i)
                    visit(plain + i, stored + rest[static_cast<std::size_t>(i)]);
            }
}

}  // namespace

void to_layout(const TensorDesc& desc, const float* plain, float* stored) {
    if (desc.stored_elements() != desc.elements()) std::fill_n(stored, desc.stored_elements(), 0.0f);
    for_each_entry(desc, [&](std::int64_t p, std::int64_t s) { stored[s] = plain[p]; });
}

void to_plain(const TensorDesc& desc, const float* stored, float* plain) {
    for_each_entry(desc, [&](std::int64_t p, std::int64_t s) { plain[p] = stored[s]; });
}

}  // namespace onecycle
