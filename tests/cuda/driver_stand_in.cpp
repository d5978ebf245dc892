// Stands in for NVIDIA's driver, libcuda.so.1, where there is none: cuDNN's engines that are
// compiled at run time compile their kernel and load it, which says whether they can and what the
// kernel is called. Nothing can run: what is not needed for that says that the driver is a stub.
// Only tests load it (test_cudnn_fusions.cpp).
#include <dlfcn.h>

#include <cstring>
#include <string>

namespace {

constexpr int success = 0, stub_library = 34;

std::string& kernels() {
    static std::string names;
    return names;
}

// Some handle that is not null; nobody looks behind it.
int hand_out(void** handle) {
    static int anything;
    *handle = &anything;
    return success;
}

}  // namespace

extern "C" {

// Names of the kernels loaded since the last forget_kernels(), each followed by a space.
const char* loaded_kernels() {
    return kernels().c_str();
}
void forget_kernels() {
    kernels().clear();
}

int cuInit(unsigned) {
    return success;
}
int cuDriverGetVersion(int* version) {
    *version = 13000;
    return success;
}
int cuLibraryLoadData(void** library, const void*, void*, void*, unsigned, void*, void*, unsigned) {
    return hand_out(library);
}
int cuLibraryUnload(void*) {
    return success;
}
int cuLibraryGetKernel(void** kernel, void*, const char* name) {
    kernels() += std::string(name) + " ";
    return hand_out(kernel);
}
int cuLibraryGetModule(void** module, void*) {
    return hand_out(module);
}
int cuKernelGetFunction(void** function, void*) {
    return hand_out(function);
}
int cuKernelGetAttribute(int* value, int, void*, int) {
    *value = 0;
    return success;
}
int cuKernelSetAttribute(int, int, void*, int) {
    return success;
}
int cuFuncSetAttribute(void*, int, int) {
    return success;
}
int cuModuleLoadData(void** module, const void*) {
    return hand_out(module);
}
int cuModuleLoadDataEx(void** module, const void*, unsigned, void*, void*) {
    return hand_out(module);
}
int cuModuleGetFunction(void** function, void*, const char*) {
    return hand_out(function);
}
int cuModuleUnload(void*) {
    return success;
}
int cuGetErrorString(int, const char** text) {
    *text = "the driver is a stand-in";
    return success;
}
int cuGetErrorName(int, const char** text) {
    *text = "CUDA_ERROR_STUB_LIBRARY";
    return success;
}

// What a run would need.
#define ONECYCLE_CANNOT(function) \
    int function() {              \
        return stub_library;      \
    }
ONECYCLE_CANNOT(cuCtxGetCurrent)
ONECYCLE_CANNOT(cuCtxGetLimit)
ONECYCLE_CANNOT(cuCtxPopCurrent)
ONECYCLE_CANNOT(cuCtxPushCurrent)
ONECYCLE_CANNOT(cuDeviceGet)
ONECYCLE_CANNOT(cuDeviceGetCount)
ONECYCLE_CANNOT(cuGetExportTable)
ONECYCLE_CANNOT(cuLaunchCooperativeKernel)
ONECYCLE_CANNOT(cuLaunchKernel)
ONECYCLE_CANNOT(cuLaunchKernelEx)
ONECYCLE_CANNOT(cuLibraryLoadFromFile)
ONECYCLE_CANNOT(cuLinkAddData)
ONECYCLE_CANNOT(cuLinkComplete)
ONECYCLE_CANNOT(cuLinkCreate)
ONECYCLE_CANNOT(cuLinkDestroy)
ONECYCLE_CANNOT(cuOccupancyMaxPotentialClusterSize)
ONECYCLE_CANNOT(cuStreamGetCtx)
ONECYCLE_CANNOT(what_is_not_above)
int cuGetProcAddress_v2(const char* name, void** function, int, unsigned long long, int* found) {
    *function = dlsym(RTLD_DEFAULT, name);
    if (!*function) *function = reinterpret_cast<void*>(&what_is_not_above);
    if (found) *found = 0;
    return success;
}
int cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}

}  // extern "C"
