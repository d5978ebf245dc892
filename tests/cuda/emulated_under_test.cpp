#include "cuda/cuda.h"
#include "ops/update_step.h"

namespace onecycle::testing {

std::shared_ptr<const Machine> machine_under_test(int) {
    return std::make_shared<const Machine>(emulated_machine());
}

}  // namespace onecycle::testing
