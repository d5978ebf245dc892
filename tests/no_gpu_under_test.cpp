// In a build without the CUDA back end.
#include <memory>
#include <optional>

#include "onecycle/error.h"
#include "ops/ops.h"

namespace onecycle::testing {

std::unique_ptr<Backend> make_gpu_backend(std::optional<std::size_t>) {
    throw Error(ErrorKind::device, "no such device", "cuda", "these tests were built without CUDA",
                "build where the CUDA toolkit is");
}

}  // namespace onecycle::testing
