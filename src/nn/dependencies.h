// The graph of ops: which op must be done before which. Within a branch ops run in list
// order; between branches only explicit waits hold. Everything that may run or reuse memory out of
// order asks here.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/program.h"

namespace onecycle {

class OpOrder {
  public:
    // The order of a finished list: reads branches and waits.
    explicit OpOrder(const std::vector<ProgramOp>& ops);

    // Whether op `a` is done before op `b` starts, whatever order the device takes.
    bool before(int a, int b) const {
        return (done_before_[static_cast<std::size_t>(b)][static_cast<std::size_t>(a) / 64] >> (a % 64)) & 1;
    }

  private:
    friend void add_waits(const std::vector<Buffer>& buffers, std::vector<ProgramOp>& ops);

    explicit OpOrder(std::size_t ops) : words_(ops / 64 + 1) {}
    void append(int branch);              // the next op of this branch
    void last_waits_for(int earlier_op);  // an edge to the op just appended

    std::size_t words_;
    std::vector<std::vector<std::uint64_t>> done_before_;  // by op: a bit for each earlier op
    std::vector<int> last_of_branch_;
};

// Fills `waits` of every op: a op waits for the ops of other branches that wrote what it
// reads, and for those that read or wrote what it overwrites. Waits that follow from others are
// left out.
void add_waits(const std::vector<Buffer>& buffers, std::vector<ProgramOp>& ops);

}  // namespace onecycle
