// The GPU's back end for tests: deterministic, and with the size that they want.
#include <optional>

#include "ops/cuda/builders.h"

namespace onecycle::testing {

std::unique_ptr<Backend> make_gpu_backend(std::optional<std::size_t> one_grid_bytes) {
    using namespace cuda;
    int multiprocessors = 0;
    check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0),
          "cudaDeviceGetAttribute");
    Context context{.multiprocessors = multiprocessors};
    if (one_grid_bytes) context.one_grid_bytes = *one_grid_bytes;
    return make_backend(context);
}

}  // namespace onecycle::testing
