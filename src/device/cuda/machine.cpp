#include "device/cuda/machine.h"

#include <fstream>
#include <regex>
#include <string>

#include "device/cuda/calls.h"

namespace onecycle {

namespace cuda {

namespace {

// The oldest GPUs that compute in bf16.
constexpr int least_major = 8;

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// From "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build  ...".
std::string kernel_driver() {
    std::ifstream file("/proc/driver/nvidia/version");
    std::string line;
    std::getline(file, line);
    std::smatch found;
    return std::regex_search(line, found, std::regex("[0-9]+\\.[0-9]+[0-9.]*")) ? found.str() : "";
}

CudaGpu describe(int index, const std::string& architectures) {
    CudaGpu gpu;
    cudaDeviceProp properties{};
    const cudaError_t error = ONECYCLE_TRY_CUDA(cudaGetDeviceProperties, &properties, index);
    if (error != cudaSuccess) {
        ONECYCLE_TRY_CUDA(cudaGetLastError);
        gpu.missing = cudaGetErrorString(error);
        return gpu;
    }
    gpu.name = properties.name;
    gpu.memory = properties.totalGlobalMem;
    gpu.major = properties.major;
    gpu.minor = properties.minor;
    const std::string capability = std::to_string(gpu.major) + "." + std::to_string(gpu.minor);
    if (gpu.major < least_major)
        gpu.missing = gpu.name + " has compute capability " + capability + ", 8.0 is needed";
    else if (!runs_on(architectures, gpu.major, gpu.minor))
        gpu.missing = gpu.name + " has compute capability " + capability + ", the kernels were built for " +
                      architectures;
    return gpu;
}

}  // namespace

}  // namespace cuda

CudaMachine examine_cuda() {
    using namespace cuda;
    CudaMachine machine;
    machine.toolkit = version_text(CUDART_VERSION);
    machine.architectures = ONECYCLE_CUDA_ARCHITECTURES;
    int driver = 0;
    if (ONECYCLE_TRY_CUDA(cudaDriverGetVersion, &driver) == cudaSuccess && driver > 0)
        machine.driver = version_text(driver);
    machine.driver_version = kernel_driver();
    int count = 0;
    const cudaError_t error = ONECYCLE_TRY_CUDA(cudaGetDeviceCount, &count);
    if (error != cudaSuccess) ONECYCLE_TRY_CUDA(cudaGetLastError);
    if (machine.driver.empty()) {
        machine.missing = "there is no NVIDIA driver (libcuda.so.1)";
        machine.fix = "install NVIDIA's driver";
    } else if (error == cudaErrorInsufficientDriver) {
        machine.missing = "the driver" +
                          (machine.driver_version.empty() ? "" : " " + machine.driver_version) +
                          " knows CUDA " + machine.driver + ", this program needs " + machine.toolkit;
        machine.fix = "install a newer driver";
    } else if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
        machine.missing = "the driver sees no GPU";
        machine.fix = "see what nvidia-smi and the variable CUDA_VISIBLE_DEVICES say";
    } else if (error != cudaSuccess) {
        machine.missing = std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + ")";
        machine.fix = "see what nvidia-smi says";
    }
    for (int i = 0; machine.missing.empty() && i < count; ++i)
        machine.gpus.push_back(describe(i, machine.architectures));
    return machine;
}

}  // namespace onecycle
