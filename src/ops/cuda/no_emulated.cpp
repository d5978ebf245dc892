// Stands in for the operations of the emulated device in a program that is built without it.
#include "onecycle/error.h"
#include "ops/ops.h"

namespace onecycle {

std::unique_ptr<Backend> make_emulated_backend(Communicator*) {
    throw Error(ErrorKind::device, "no such device", "emulated", "this program is built without it",
                "run scripts/build, or use --device cpu");
}

}  // namespace onecycle
