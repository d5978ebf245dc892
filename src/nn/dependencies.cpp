#include "nn/dependencies.h"

#include <algorithm>

namespace onecycle {

namespace {

bool same_memory(const std::vector<Buffer>& buffers, int a, int b) {
    if (a == b) return true;
    const Buffer& x = buffers[static_cast<std::size_t>(a)];
    const Buffer& y = buffers[static_cast<std::size_t>(b)];
    // Arena buffers have no place yet; the memory plan respects the order that is made here.
    if (x.space == Space::arena || x.space != y.space) return false;
    return x.offset < y.offset + y.bytes && y.offset < x.offset + x.bytes;
}

bool touch(const std::vector<Buffer>& buffers, const std::vector<int>& a, const std::vector<int>& b) {
    return std::any_of(a.begin(), a.end(), [&](int x) {
        return std::any_of(b.begin(), b.end(), [&](int y) { return same_memory(buffers, x, y); });
    });
}

bool conflict(const std::vector<Buffer>& buffers, const ProgramOp& first, const ProgramOp& second) {
    return touch(buffers, first.outputs, second.inputs) || touch(buffers, first.outputs, second.outputs) ||
           touch(buffers, first.inputs, second.outputs);
}

}  // namespace

void OpOrder::append(int branch) {
    const auto b = static_cast<std::size_t>(branch);
    if (b >= last_of_branch_.size()) last_of_branch_.resize(b + 1, -1);
    done_before_.emplace_back(words_, 0);
    if (last_of_branch_[b] >= 0) last_waits_for(last_of_branch_[b]);
    last_of_branch_[b] = static_cast<int>(done_before_.size()) - 1;
}

void OpOrder::last_waits_for(int earlier_op) {
    const auto e = static_cast<std::size_t>(earlier_op);
    auto& bits = done_before_.back();
    for (std::size_t w = 0; w < words_; ++w) bits[w] |= done_before_[e][w];
    bits[e / 64] |= std::uint64_t{1} << (e % 64);
}

OpOrder::OpOrder(const std::vector<ProgramOp>& ops) : OpOrder(ops.size()) {
    for (const ProgramOp& op : ops) {
        append(op.branch);
        for (int wait : op.waits) last_waits_for(wait);
    }
}

void add_waits(const std::vector<Buffer>& buffers, std::vector<ProgramOp>& ops) {
    OpOrder order(ops.size());
    for (int i = 0; i < static_cast<int>(ops.size()); ++i) {
        ProgramOp& op = ops[static_cast<std::size_t>(i)];
        order.append(op.branch);
        // Latest first: what a wait brings along needs no wait of its own.
        for (int j = i - 1; j >= 0; --j) {
            const ProgramOp& earlier = ops[static_cast<std::size_t>(j)];
            if (earlier.branch == op.branch || order.before(j, i) || !conflict(buffers, earlier, op))
                continue;
            op.waits.push_back(j);
            order.last_waits_for(j);
        }
        std::sort(op.waits.begin(), op.waits.end());
    }
}

}  // namespace onecycle
