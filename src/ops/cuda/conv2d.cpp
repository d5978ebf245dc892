// Convolutions, all three passes.
#include "onecycle/error.h"
#include "ops/cuda/convolution.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

// The pass follows from the kind.
BuiltOp make(const OpDesc& given, const Context& context) {
    OpDesc desc = given;
    const ConvolutionProblem problem = convolution_problem(desc);
    PlannedProduct planned = plan_convolution(problem, context);
    BuiltOp made = op_from(desc, planned.workspace,
                           [accumulate = problem.accumulate, run = std::move(planned.run)](
                               void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                               if (accumulate && in[2] != out[0])
                                   throw Error(ErrorKind::device, "cannot run conv2d_backward_data",
                                               "operands", "the gradient to add to is not the output");
                               run(in[0], in[1], out[0], workspace, stream);
                           });
    made.implementation = std::move(planned.implementation);
    return made;
}

}  // namespace

BuiltOp make_conv2d(const OpDesc& desc, const Context& context) {
    return make(desc, context);
}
BuiltOp make_conv2d_backward_data(const OpDesc& desc, const Context& context) {
    return make(desc, context);
}
BuiltOp make_conv2d_backward_weights(const OpDesc& desc, const Context& context) {
    return make(desc, context);
}

}  // namespace onecycle::ONECYCLE_CUDA
