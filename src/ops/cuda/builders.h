// What every operation of the CUDA back end shares. These sources are compiled twice: for the GPU,
// and for the emulator (see kernels/cuda.h).
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "device/cuda/stream.h"
#include "kernels/cuda.h"
#include "ops/checks.h"
#include "ops/cuda/declared.h"
#include "ops/ops.h"

namespace onecycle::ONECYCLE_CUDA {

class DeviceCommunicator;

// What builders know of the machine.
struct Context {
    int multiprocessors = 1;
    bool deterministic = true;
    // An operation whose passes read so many bytes twice finds them in L2 the second time: its
    // passes then run as one cooperative grid. Operations that choose so must stand in one branch
    // of a step: two such grids at the same time could each hold multiprocessors that the other
    // waits for. Results do not depend on it.
    std::size_t one_grid_bytes = std::size_t{30} << 20;
    bool weight_gradient_branch = true;
    bool tf32 = false;                            // f32 products may round their inputs to TF32
    std::shared_ptr<PlanBook> plans{};            // may be null
    std::shared_ptr<DeviceCommunicator> ranks{};  // null: one rank
};

std::unique_ptr<Backend> make_backend(const Context& context);

using OpBuilder = BuiltOp (*)(const OpDesc&, const Context&);

// make_<kind> of every kind that this back end has.
#define ONECYCLE_BUILDER(kind, writes) BuiltOp make_##kind(const OpDesc&, const Context&);
ONECYCLE_OP_KINDS(ONECYCLE_BUILDER, ONECYCLE_BUILDER)
#undef ONECYCLE_BUILDER

// An operation made of a function (inputs, outputs, workspace, stream) that puts work on the
// stream.
template <typename F>
BuiltOp op_from(const OpDesc& desc, std::size_t workspace, F function) {
    class FunctionOp final : public Op {
      public:
        FunctionOp(const OpDesc& desc, std::size_t workspace, F function)
            : desc_(desc), workspace_(workspace), function_(std::move(function)) {}
        void run(void* const* inputs, void* const* outputs, void* workspace, Stream& stream) override {
            const DeclaredOperation declared(desc_, inputs, outputs, workspace, workspace_);
            function_(inputs, outputs, workspace, handle(stream));
        }

      private:
        OpDesc desc_;
        std::size_t workspace_;
        F function_;
    };
    BuiltOp made;
    made.op = std::make_unique<FunctionOp>(desc, workspace, std::move(function));
    made.desc = desc;
    made.workspace = workspace;
    made.implementation = "own";
    return made;
}

// Calls f.operator()<T>() with T of this element type: float, bf16 or f16.
template <typename F>
auto with_float_type(const OpDesc& desc, DType type, F f) {
    if (type == DType::bf16) return f.template operator()<bf16>();
    if (type == DType::f16) return f.template operator()<f16>();
    require(type == DType::f32, desc, "an operand is not of a floating point type");
    return f.template operator()<float>();
}

template <typename T>
const T* input(void* const* inputs, std::size_t i) {
    return static_cast<const T*>(inputs[i]);
}
template <typename T>
T* output(void* const* outputs, std::size_t i) {
    return static_cast<T*>(outputs[i]);
}

}  // namespace onecycle::ONECYCLE_CUDA
