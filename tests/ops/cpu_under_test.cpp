#include "ops/update_step.h"

namespace onecycle::testing {

std::shared_ptr<const Machine> machine_under_test(int threads) {
    return std::make_shared<const Machine>(cpu_machine(threads));
}

}  // namespace onecycle::testing
