// Stands in for the CUDA back end in a build without it.
#include "device/cuda/machine.h"
#include "onecycle/error.h"
#include "ops/ops.h"

namespace onecycle {

std::unique_ptr<Backend> make_cuda_backend(const CudaMath&) {
    const CudaMachine machine = examine_cuda();
    throw Error(ErrorKind::device, "no such device", "cuda", machine.missing, machine.fix);
}

std::vector<CudaLibrary> cuda_libraries() {
    return {};
}

}  // namespace onecycle
