// Libraries that are opened at run time, so that one binary starts anywhere: cuDNN, cuBLAS, NCCL,
// the driver.
#pragma once

#include <string>

namespace onecycle {

// An open shared library. It stays open for the rest of the process: such libraries do not like to
// be closed.
class SharedLibrary {
  public:
    // `file`: "libcudnn.so.9"; `what`: "cuDNN 9". Looked for in the folders of the environment
    // variable ONECYCLE_LIBRARY_PATH, separated by colons, and in what they hold as */lib (so
    // .../site-packages/nvidia serves for PyTorch's wheels); then where the system looks; then
    // where NVIDIA installs the toolkit. What the library itself opens (cuDNN has seven parts) lies
    // beside it: NVIDIA's know that by their own RUNPATH. Throws Error(device) naming the file when
    // it is nowhere.
    SharedLibrary(const std::string& file, const std::string& what);

    // A function of the library by its C name. Throws Error(device) when it is not in this version.
    template <typename Function>
    Function* function(const char* name) const {
        return reinterpret_cast<Function*>(address(name));
    }

    const std::string& what() const { return what_; }

  private:
    void* address(const char* name) const;

    std::string what_;
    void* handle_ = nullptr;
};

}  // namespace onecycle
