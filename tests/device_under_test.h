// Where tests of the CUDA back end run: on the emulator, or, with ONECYCLE_TEST_DEVICE=cuda, on the
// GPU. scripts/gpu_check sets it; the tests are the same.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "device/device.h"
#include "ops/ops.h"

namespace onecycle::testing {

bool on_gpu();

// A file of tests/reference/data; in the folder ONECYCLE_TEST_DATA of the environment where
// programs were carried to another machine.
std::string reference_data(const std::string& file);

// Throws Error(device) where the GPU is asked for and none can be used.
std::unique_ptr<Device> cuda_device_under_test(StepMode mode = StepMode::graph);

// `one_grid_bytes`: for which sizes batch norms run as one cooperative grid; empty: the device's
// own choice.
std::unique_ptr<Backend> cuda_backend_under_test(std::optional<std::size_t> one_grid_bytes = {});

}  // namespace onecycle::testing
