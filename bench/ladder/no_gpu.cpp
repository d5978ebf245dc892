// In a build without the CUDA back end.
#include "bench/ladder/ladder.h"

namespace onecycle::ladder {

std::vector<Rung<Statistics>> statistics_on_gpu(DType) {
    return {};
}
std::vector<Rung<Gradients>> gradients_on_gpu(DType) {
    return {};
}
std::vector<Rung<Convolution>> convolution_on_gpu() {
    return {};
}

}  // namespace onecycle::ladder
