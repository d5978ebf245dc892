// Stands in for the CUDA device in a build without the CUDA toolkit.
#include "device/device.h"
#include "onecycle/error.h"

namespace onecycle {

std::unique_ptr<Device> make_cuda_device(int index, StepMode) {
    throw Error(ErrorKind::device, "no such device", "cuda:" + std::to_string(index),
                "this build has no CUDA", "use --device cpu, or build where nvcc is on the path");
}

}  // namespace onecycle
