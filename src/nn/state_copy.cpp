#include "nn/state_copy.h"

#include <algorithm>

namespace onecycle {

namespace {

constexpr Space all_spaces[] = {Space::control, Space::parameters, Space::moment1,
                                Space::moment2, Space::statistics, Space::ema};

}  // namespace

StateCopy::StateCopy(const State& state) {
    std::vector<SideCopy::Piece> pieces;
    for (Space space : all_spaces) {
        if (!state.bytes(space)) continue;
        spaces_.push_back(space);
        pieces.push_back({state.base(space), state.bytes(space)});
    }
    copy_ = state.device().make_side_copy(pieces);
}

const StepControl& StateCopy::control() const {
    return *reinterpret_cast<const StepControl*>(copy_->piece(0));
}

std::span<const float> StateCopy::stored(const StateTensor& tensor) const {
    const auto at = std::find(spaces_.begin(), spaces_.end(), tensor.space) - spaces_.begin();
    const auto* values = reinterpret_cast<const float*>(copy_->piece(static_cast<std::size_t>(at)));
    return {values + tensor.offset, static_cast<std::size_t>(tensor.desc.stored_elements())};
}

}  // namespace onecycle
