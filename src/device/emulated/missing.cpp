// Stands in for the emulated device in a program that is built without it: its kernels take long to
// compile.
#include "device/device.h"
#include "onecycle/error.h"

namespace onecycle {

std::unique_ptr<Device> make_emulated_device(StepMode, int) {
    throw Error(ErrorKind::device, "no such device", "emulated", "this program is built without it",
                "run scripts/build, or use --device cpu");
}

}  // namespace onecycle
