// Where cuDNN and cuBLAS would stand: blocked loops on the host, put on the stream.
#include <omp.h>

#include <memory>

#include "ops/cuda/convolution.h"
#include "ops/cuda/host_convolution.h"

namespace onecycle::emulated {

PlannedProduct plan_convolution(const ConvolutionProblem& problem, const Context&) {
    const auto convolution = std::make_shared<const HostConvolution>(problem, omp_get_max_threads());
    return {"host loops", convolution->workspace(),
            [convolution](const void* first, const void* second, void* out, void* workspace,
                          cudaStream_t stream) {
                check(enqueue([=] { convolution->run(first, second, out, workspace); }, stream),
                      "convolution");
            }};
}

PlannedProduct plan_matrix_product(const ConvolutionProblem& problem, const Context& context) {
    return plan_convolution(problem, context);
}

}  // namespace onecycle::emulated
