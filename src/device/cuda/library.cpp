#include "device/cuda/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <sstream>

#include "onecycle/error.h"

namespace onecycle {

SharedLibrary::SharedLibrary(const std::string& file, const std::string& what) : what_(what) {
    handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    std::string why = handle_ ? "" : dlerror();
    const char* folders = std::getenv("ONECYCLE_LIBRARY_PATH");
    std::istringstream path(folders ? folders : "");
    for (std::string folder; !handle_ && std::getline(path, folder, ':');) {
        if (folder.empty()) continue;
        handle_ = dlopen((folder + "/" + file).c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!handle_) why = dlerror();
    }
    if (!handle_)
        throw Error(ErrorKind::device, "cannot open " + what, file, why,
                    "install " + what + ", or name its folder in ONECYCLE_LIBRARY_PATH");
}

void* SharedLibrary::address(const char* name) const {
    void* const found = dlsym(handle_, name);
    if (!found)
        throw Error(ErrorKind::device, "cannot use " + what_, name, "the library does not have this function",
                    "install a newer " + what_);
    return found;
}

}  // namespace onecycle
