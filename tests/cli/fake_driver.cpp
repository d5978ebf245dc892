// Stands for NVIDIA's driver (libcuda.so.1) in tests: it knows the CUDA that FAKE_CUDA_VERSION says
// (0: as if it were not there), and no GPU.
#include <cstdlib>
#include <cstring>

namespace {

constexpr int no_device = 100;  // CUDA_ERROR_NO_DEVICE

int without_device() {
    return no_device;
}

}  // namespace

extern "C" {

int cuInit(unsigned) {
    return no_device;
}
int cuDriverGetVersion(int* version) {
    *version = std::atoi(std::getenv("FAKE_CUDA_VERSION"));
    return 0;
}
int cuGetProcAddress_v2(const char* name, void** function, int, unsigned long long, int* found) {
    if (found) *found = 0;
    *function = std::strcmp(name, "cuDriverGetVersion") == 0 ? reinterpret_cast<void*>(cuDriverGetVersion)
                : std::strcmp(name, "cuGetProcAddress") == 0 ? reinterpret_cast<void*>(cuGetProcAddress_v2)
                                                             : reinterpret_cast<void*>(without_device);
    return 0;
}
int cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
int cuGetExportTable(const void**, const void*) {
    return no_device;
}
}
