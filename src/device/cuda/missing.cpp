// Stands in for the CUDA device in a build without it.
#include "device/cuda/machine.h"
#include "device/device.h"
#include "onecycle/error.h"

namespace onecycle {

CudaMachine examine_cuda() {
    CudaMachine machine;
    machine.missing = "this build has no CUDA: " ONECYCLE_CUDA_MISSING;
    machine.fix = ONECYCLE_CUDA_FIX;
    return machine;
}

std::unique_ptr<Device> make_cuda_device(int index, StepMode) {
    const CudaMachine machine = examine_cuda();
    throw Error(ErrorKind::device, "no such device", "cuda:" + std::to_string(index), machine.missing,
                machine.fix + ", or use --device cpu");
}

}  // namespace onecycle
