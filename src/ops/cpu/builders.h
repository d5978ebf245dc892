// What every operation of the CPU back end shares: one maker a kind, checks of operands, workspace.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "ops/checks.h"
#include "ops/ops.h"

namespace onecycle::cpu {

// What makers know of the machine.
struct Context {
    int threads = 1;
    int block = 8;  // channels in a block of oneDNN's layouts: 16 with AVX-512, else 8
};

using OpBuilder = BuiltOp (*)(const OpDesc&, const Context&);

BuiltOp make_normalize_images(const OpDesc&, const Context&);
BuiltOp make_mix_batch(const OpDesc&, const Context&);
BuiltOp make_conv2d(const OpDesc&, const Context&);  // all three passes
BuiltOp make_add_channel_bias(const OpDesc&, const Context&);
BuiltOp make_channel_bias_gradient(const OpDesc&, const Context&);
BuiltOp make_batch_norm(const OpDesc&, const Context&);
BuiltOp make_batch_norm_backward(const OpDesc&, const Context&);
BuiltOp make_batch_norm_inference(const OpDesc&, const Context&);
BuiltOp make_relu(const OpDesc&, const Context&);
BuiltOp make_relu_backward(const OpDesc&, const Context&);
BuiltOp make_add(const OpDesc&, const Context&);
BuiltOp make_max_pool(const OpDesc&, const Context&);
BuiltOp make_max_pool_backward(const OpDesc&, const Context&);
BuiltOp make_global_average_pool(const OpDesc&, const Context&);
BuiltOp make_global_average_pool_backward(const OpDesc&, const Context&);
BuiltOp make_adaptive_average_pool(const OpDesc&, const Context&);
BuiltOp make_adaptive_average_pool_backward(const OpDesc&, const Context&);
BuiltOp make_concat_pool(const OpDesc&, const Context&);
BuiltOp make_concat_pool_backward(const OpDesc&, const Context&);
BuiltOp make_dropout(const OpDesc&, const Context&);
BuiltOp make_linear(const OpDesc&, const Context&);
BuiltOp make_linear_backward_data(const OpDesc&, const Context&);
BuiltOp make_linear_backward_weights(const OpDesc&, const Context&);
BuiltOp make_softmax_cross_entropy(const OpDesc&, const Context&);
BuiltOp make_softmax(const OpDesc&, const Context&);
BuiltOp make_confusion(const OpDesc&, const Context&);
BuiltOp make_accumulate_gradients(const OpDesc&, const Context&);
BuiltOp make_check_gradients(const OpDesc&, const Context&);
BuiltOp make_update_parameters(const OpDesc&, const Context&);
BuiltOp make_update_statistics(const OpDesc&, const Context&);
BuiltOp make_commit_step(const OpDesc&, const Context&);
BuiltOp make_add_metrics(const OpDesc&, const Context&);

// An operation made of a function (inputs, outputs, workspace).
template <typename F>
BuiltOp op_from(const OpDesc& desc, std::size_t workspace, F function) {
    class FunctionOp final : public Op {
      public:
        explicit FunctionOp(F function) : function_(std::move(function)) {}
        void run(void* const* inputs, void* const* outputs, void* workspace, Stream&) override {
            function_(inputs, outputs, workspace);
        }

      private:
        F function_;
    };
    BuiltOp made;
    made.op = std::make_unique<FunctionOp>(std::move(function));
    made.desc = desc;
    made.workspace = workspace;
    made.implementation = "own";
    return made;
}

inline const float* floats(void* p) {
    return static_cast<const float*>(p);
}
inline float* floats_out(void* p) {
    return static_cast<float*>(p);
}

}  // namespace onecycle::cpu
