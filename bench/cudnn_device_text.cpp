// Prints the text that stands for this GPU in cuDNN: with it, plans can be looked for on a machine
// without one (tests/cuda/test_cudnn_plans.cpp).
#include <cstdio>

#include "onecycle/error.h"
#include "ops/cuda/cudnn.h"

int main() {
    try {
        const onecycle::cudnn::Target target{onecycle::cudnn::Library()};
        std::puts(target.device_text().c_str());
        return 0;
    } catch (const onecycle::Error& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return error.exit_code();
    }
}
