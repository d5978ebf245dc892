// The graph of steps: which step must be done before which. Within a branch steps run in list
// order; between branches only explicit waits hold. Everything that may run or reuse memory out of
// order asks here.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/program.h"

namespace onecycle {

class StepOrder {
  public:
    // The order of a finished list: reads branches and waits.
    explicit StepOrder(const std::vector<ProgramOp>& steps);

    // Whether step `a` is done before step `b` starts, whatever order the device takes.
    bool before(int a, int b) const {
        return (done_before_[static_cast<std::size_t>(b)][static_cast<std::size_t>(a) / 64] >> (a % 64)) & 1;
    }

  private:
    friend void add_waits(const std::vector<Buffer>& buffers, std::vector<ProgramOp>& steps);

    explicit StepOrder(std::size_t steps) : words_(steps / 64 + 1) {}
    void append(int branch);                // the next step of this branch
    void last_waits_for(int earlier_step);  // an edge to the step just appended

    std::size_t words_;
    std::vector<std::vector<std::uint64_t>> done_before_;  // by step: a bit for each earlier step
    std::vector<int> last_of_branch_;
};

// Fills `waits` of every step: a step waits for the steps of other branches that wrote what it
// reads, and for those that read or wrote what it overwrites. Waits that follow from others are
// left out.
void add_waits(const std::vector<Buffer>& buffers, std::vector<ProgramOp>& steps);

}  // namespace onecycle
