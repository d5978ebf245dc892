#include "device_under_test.h"

#include <cstdlib>
#include <string_view>

namespace onecycle::testing {

std::unique_ptr<Backend> make_gpu_backend(std::optional<std::size_t> one_grid_bytes);  // gpu_under_test.cpp

bool on_gpu() {
    const char* const device = std::getenv("ONECYCLE_TEST_DEVICE");
    return device && std::string_view(device) == "cuda";
}

std::string reference_data(const std::string& file) {
    const char* const folder = std::getenv("ONECYCLE_TEST_DATA");
    return (folder ? folder : ONECYCLE_TEST_DATA) + ("/" + file);
}

std::unique_ptr<Device> cuda_device_under_test(StepMode mode) {
    return on_gpu() ? make_cuda_device(0, mode) : make_emulated_device(mode);
}

std::unique_ptr<Backend> cuda_backend_under_test(std::optional<std::size_t> one_grid_bytes) {
    return on_gpu() ? make_gpu_backend(one_grid_bytes) : make_emulated_backend();
}

}  // namespace onecycle::testing
