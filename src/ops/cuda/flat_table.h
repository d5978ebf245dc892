// The table of parameters that kernels take, made from an operation's description.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/flat.h"
#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

// The parameters that are trained, in pieces of so many elements. `elements` is the length of the
// flat buffers. Flags of 16-bit copies and gradients stay only where the operation has these
// operands.
inline FlatTable flat_table(const OpDesc& desc, std::int64_t elements, std::int64_t piece_elements,
                            bool halves, bool half_gradients) {
    FlatTable table{};
    std::vector<std::size_t> trained;
    for (std::size_t i = 0; i < desc.parameters.size(); ++i) {
        const ParameterSegment& s = desc.parameters[i];
        const std::int64_t padded = divide_up(s.elements, segment_alignment) * segment_alignment;
        require(s.offset >= 0 && s.offset % segment_alignment == 0 && s.offset + padded <= elements &&
                    s.elements >> 32 == 0,
                desc, "a parameter lies outside its buffer");
        if (!s.frozen && s.elements > 0) trained.push_back(i);
    }
    require(trained.size() <= FlatTable::capacity, desc, "it has too many parameters");
    std::sort(trained.begin(), trained.end(), [&](std::size_t a, std::size_t b) {
        return desc.parameters[a].offset < desc.parameters[b].offset;
    });
    std::int64_t pieces = 0;
    for (std::size_t i : trained) {
        const ParameterSegment& s = desc.parameters[i];
        table.segment[table.segments++] = {
            .offset128 = static_cast<std::uint32_t>(s.offset / segment_alignment),
            .elements = static_cast<std::uint32_t>(s.elements),
            .first_piece = static_cast<std::int32_t>(pieces),
            .parameter = static_cast<std::int32_t>(i),
            .lr_multiplier = s.lr_multiplier,
            .decay_multiplier = s.decay_multiplier,
            .half = halves && s.half,
            .half_gradient = half_gradients && s.half_gradient};
        pieces += divide_up(s.elements, piece_elements);
    }
    require(pieces >> 31 == 0, desc, "its parameters are too large");
    table.pieces = static_cast<std::int32_t>(pieces);
    return table;
}

// One segment for everything, padding included.
inline FlatTable whole_table(const OpDesc& desc, std::int64_t elements, std::int64_t piece_elements) {
    OpDesc whole = desc;
    whole.parameters = {{.offset = 0, .elements = elements}};
    return flat_table(whole, elements, piece_elements, false, false);
}

// The parameters whose gradients come in 16 bits, of a table that is a bucket's.
inline FlatTable half_table(const OpDesc& desc, std::int64_t elements, std::int64_t piece_elements) {
    OpDesc halves = desc;
    std::erase_if(halves.parameters, [](const ParameterSegment& s) { return !s.half_gradient; });
    return flat_table(halves, elements, piece_elements, false, true);
}

// Calls f.operator()<Half>() with the type of a 16-bit operand, or float where there is none.
template <typename F>
auto with_half_type(const OpDesc& desc, const TensorDesc* half, std::int64_t elements, F f) {
    if (!half) return f.template operator()<float>();
    require(half->type != DType::f32, desc, "a 16-bit buffer is not of a 16-bit type");
    require_like(desc, *half, TensorDesc({elements}, Layout::plain, half->type), "a 16-bit buffer");
    return with_float_type(desc, half->type, f);
}

}  // namespace onecycle::ONECYCLE_CUDA
