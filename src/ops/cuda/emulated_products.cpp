// Where cuDNN and cuBLAS would stand: blocked loops on the host, put on the stream.
#include <omp.h>

#include <memory>

#include "ops/cuda/convolution.h"
#include "ops/cuda/host_convolution.h"

namespace onecycle::emulated {

namespace {

PlannedProduct plan(const ConvolutionProblem& problem, const char* name) {
    const auto convolution = std::make_shared<const HostConvolution>(problem, omp_get_max_threads());
    return {name, convolution->workspace(),
            [convolution, problem](const void* first, const void* second, void* out, void* workspace,
                                   cudaStream_t stream) {
                const auto bytes = [](std::int64_t elements, DType type) {
                    return static_cast<std::size_t>(elements) * size_of(type);
                };
                const std::int64_t x = problem.x_elements(), w = problem.w_elements(),
                                   y = problem.y_elements();
                const bool forward = problem.pass == Pass::forward,
                           weights = problem.pass == Pass::backward_weights;
                const Bytes output{out, bytes(forward ? y : weights ? w : x, problem.output_type)};
                std::vector<Bytes> reads{{first, bytes(forward ? x : y, problem.type)},
                                         {second, bytes(weights ? x : w, problem.type)}};
                if (problem.accumulate) reads.push_back(output);
                check(enqueue([=] { convolution->run(first, second, out, workspace); }, std::move(reads),
                              {output, {workspace, convolution->workspace()}}, stream),
                      "convolution");
            }};
}

}  // namespace

PlannedProduct plan_convolution(const ConvolutionProblem& problem, const Context&) {
    return plan(problem, "host loops for cuDNN");
}

PlannedProduct plan_matrix_product(const ConvolutionProblem& problem, const Context&) {
    return plan(problem, "host loops for cuBLAS");
}

}  // namespace onecycle::emulated
