// Which of the libraries that are opened at run time are here.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <functional>

#include "device/cuda/library.h"
#include "onecycle/error.h"
#include "ops/cuda/cublas.h"
#include "ops/cuda/cudnn.h"

namespace onecycle {

namespace {

constexpr int cuda_major = CUDART_VERSION / 1000;

// The ranks of a job need it where each has a GPU.
std::string nccl_version() {
    const SharedLibrary library("libnccl.so.2", "NCCL 2");
    int version = 0;
    library.function<int(int*)>("ncclGetVersion")(&version);
    return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

CudaLibrary look_for(const std::string& name, const std::string& package, bool needed,
                     const std::function<std::string()>& version) {
    CudaLibrary library{.name = name, .version = "", .missing = "", .package = package, .needed = needed};
    try {
        library.version = version();
    } catch (const Error& error) {
        library.missing = error.without_fix();
    }
    return library;
}

}  // namespace

std::vector<CudaLibrary> cuda_libraries() {
    return {look_for("cuDNN", fmt::format("cudnn9-cuda-{}", cuda_major), true,
                     [] { return cudnn::Library().version(); }),
            look_for("cuBLAS", fmt::format("libcublas-{}-{}", cuda_major, CUDART_VERSION % 1000 / 10), true,
                     cublas_version),
            look_for("NCCL", "libnccl2", false, nccl_version)};
}

}  // namespace onecycle
