// Stands in for the emulated device where a test has no use for its kernels, which take long to
// build.
#include "device/device.h"
#include "onecycle/error.h"
#include "ops/ops.h"

namespace onecycle {

namespace {

[[noreturn]] void refuse() {
    throw Error(ErrorKind::device, "no such device", "emulated", "this test is built without it",
                "use --device cpu");
}

}  // namespace

std::unique_ptr<Device> make_emulated_device(StepMode) {
    refuse();
}

std::unique_ptr<Backend> make_emulated_backend() {
    refuse();
}

}  // namespace onecycle
