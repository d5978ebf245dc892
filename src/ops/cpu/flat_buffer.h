// How flat buffers are walked: every parameter in pieces, so that each piece belongs to one
// parameter.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/cpu/parallel.h"
#include "ops/ops.h"

namespace onecycle::cpu {

struct FlatPiece {
    std::size_t segment;
    Range range;  // elements of the flat buffer
};

// Pieces of all parameters that are trained, in order.
inline std::vector<FlatPiece> trained_pieces(const std::vector<ParameterSegment>& segments) {
    std::vector<FlatPiece> pieces;
    for (std::size_t s = 0; s < segments.size(); ++s) {
        if (segments[s].frozen) continue;
        for (std::int64_t at = 0; at < segments[s].elements; at += flat_piece)
            pieces.push_back({s,
                              {segments[s].offset + at,
                               segments[s].offset + std::min(segments[s].elements, at + flat_piece)}});
    }
    return pieces;
}

}  // namespace onecycle::cpu
