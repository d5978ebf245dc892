// What every operation of the CPU back end shares: one maker a kind, checks of operands, workspace.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "ops/ops.h"

namespace onecycle::cpu {

// What makers know of the machine.
struct Context {
    int threads = 1;
    int block = 8;  // channels in a block of oneDNN's layouts: 16 with AVX-512, else 8
};

using Maker = MadeOp (*)(const OpDesc&, const Context&);

MadeOp make_normalize_images(const OpDesc&, const Context&);
MadeOp make_conv2d(const OpDesc&, const Context&);  // all three passes
MadeOp make_batch_norm(const OpDesc&, const Context&);
MadeOp make_batch_norm_backward(const OpDesc&, const Context&);
MadeOp make_batch_norm_inference(const OpDesc&, const Context&);
MadeOp make_relu(const OpDesc&, const Context&);
MadeOp make_relu_backward(const OpDesc&, const Context&);
MadeOp make_add(const OpDesc&, const Context&);
MadeOp make_max_pool(const OpDesc&, const Context&);
MadeOp make_max_pool_backward(const OpDesc&, const Context&);
MadeOp make_global_average_pool(const OpDesc&, const Context&);
MadeOp make_global_average_pool_backward(const OpDesc&, const Context&);
MadeOp make_linear(const OpDesc&, const Context&);
MadeOp make_linear_backward_data(const OpDesc&, const Context&);
MadeOp make_linear_backward_weights(const OpDesc&, const Context&);
MadeOp make_softmax_cross_entropy(const OpDesc&, const Context&);
MadeOp make_softmax(const OpDesc&, const Context&);
MadeOp make_accumulate_gradients(const OpDesc&, const Context&);
MadeOp make_check_gradients(const OpDesc&, const Context&);
MadeOp make_update_parameters(const OpDesc&, const Context&);
MadeOp make_update_statistics(const OpDesc&, const Context&);
MadeOp make_update_average(const OpDesc&, const Context&);
MadeOp make_commit_step(const OpDesc&, const Context&);
MadeOp make_add_metrics(const OpDesc&, const Context&);

// Throws Error(device) naming the operation unless `good`.
void require(bool good, const OpDesc& desc, const std::string& why);
void require_operands(const OpDesc& desc, std::size_t inputs, std::size_t outputs);
// Same element type, shape and layout; an output that says `any` takes the layout of `like`.
void require_like(const OpDesc& desc, const TensorDesc& operand, const TensorDesc& like,
                  const std::string& name);
void adopt_layout(OpDesc& desc, std::size_t output, Layout layout);
// A rank 1 or 2 tensor of floats in plain order.
void require_plain(const OpDesc& desc, const TensorDesc& operand, std::initializer_list<std::int64_t> shape,
                   const std::string& name);

// An operation made of a function (inputs, outputs, workspace).
template <typename F>
MadeOp made_of(const OpDesc& desc, std::size_t workspace, F function) {
    class FunctionOp final : public Op {
      public:
        explicit FunctionOp(F function) : function_(std::move(function)) {}
        void run(void* const* inputs, void* const* outputs, void* workspace, Stream&) override {
            function_(inputs, outputs, workspace);
        }

      private:
        F function_;
    };
    MadeOp made;
    made.op = std::make_unique<FunctionOp>(std::move(function));
    made.desc = desc;
    made.workspace = workspace;
    made.implementation = "own";
    return made;
}

// Bytes rounded up so that what follows stays 64-byte aligned.
constexpr std::size_t aligned(std::size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

inline const float* floats(void* p) {
    return static_cast<const float*>(p);
}
inline float* floats_out(void* p) {
    return static_cast<float*>(p);
}

}  // namespace onecycle::cpu
