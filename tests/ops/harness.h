// Runs one operation of any back end on buffers that are watched: redzones around every buffer,
// outputs and workspace filled with NaN before the run, allocations counted during it.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "count_allocations.h"
#include "ops/ops.h"
#include "rules/control.h"

namespace onecycle::testing {

// Values of one operand in plain order, whatever its type and layout. A BatchResult is its six
// fields.
using Values = std::vector<double>;

// A back end and the device it runs on.
struct Machine {
    std::unique_ptr<Device> device;
    std::unique_ptr<Backend> backend;
};
Machine cpu_machine(int threads);

void store_values(const TensorDesc& desc, const Values& values, std::byte* to);
Values load_values(const TensorDesc& desc, const std::byte* from);

struct Outcome {
    std::vector<Values> outputs;
    OpDesc desc;  // with layouts decided
    std::string implementation;
    int reorders = 0;
    Allocations allocations;  // during the second run
    bool redzones_intact = false;
    bool repeats = false;  // the second run gave the same bits
};

// Makes the operation and runs it twice.
Outcome run_op(const OpDesc& desc, const std::vector<Values>& inputs, const Machine& machine);
// On the CPU, with so many threads.
Outcome run_op(const OpDesc& desc, const std::vector<Values>& inputs, int threads = 2);

// Makes the operation and runs it once on copies of host memory; the outputs come back. A pointer
// given twice is one buffer, worked on in place. False when a redzone was written.
bool run_in_place(const OpDesc& desc, const std::vector<void*>& inputs, const std::vector<void*>& outputs,
                  const Machine& machine);

// A tensor in which each BatchResult is six values.
inline TensorDesc result_desc() {
    return TensorDesc({sizeof(BatchResult)}, Layout::plain, DType::u8);
}

// A StepControl, as its bytes.
inline TensorDesc control_desc() {
    return TensorDesc({sizeof(StepControl)}, Layout::plain, DType::u8);
}
inline Values control_values(std::int64_t update, std::int32_t micro = 0) {
    StepControl control{};
    control.update = update;
    control.micro = micro;
    const auto* bytes = reinterpret_cast<const unsigned char*>(&control);
    return Values(bytes, bytes + sizeof control);
}

}  // namespace onecycle::testing
