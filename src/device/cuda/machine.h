// What this binary was built with for NVIDIA GPUs, and what it finds on this machine.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace onecycle {

struct CudaGpu {
    std::string name;
    std::size_t memory = 0;    // bytes
    int major = 0, minor = 0;  // compute capability
    std::string missing;       // why it cannot be used; empty: it can
};

struct CudaMachine {
    std::string toolkit;         // "13.0"; empty in a build without CUDA
    std::string architectures;   // what the kernels were compiled for: "80-virtual 90-real"
    std::string driver;          // the newest CUDA that the driver knows, "13.0"; empty without a driver
    std::string driver_version;  // "580.82.07", where the driver tells
    std::vector<CudaGpu> gpus;
    std::string missing, fix;  // why no GPU can be used, and what to do; empty: they are there

    // Why GPU `index` cannot be used; empty: it can.
    std::string why_not(int index) const;
};

// Opens the driver, and nothing on the GPU. Takes no time where there is no driver. Never throws.
CudaMachine examine_cuda();

// Whether code for these architectures (as in CMAKE_CUDA_ARCHITECTURES) runs on a GPU of this
// compute capability: its own of the same major and no newer minor version, or PTX that is no
// newer.
bool runs_on(const std::string& architectures, int major, int minor);

}  // namespace onecycle
