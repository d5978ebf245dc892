#include "device/cuda/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <vector>

#include "onecycle/error.h"

namespace onecycle {

namespace {

// Folders in the order of search; "": wherever the system looks.
std::vector<std::string> folders() {
    std::vector<std::string> found;
    const char* named = std::getenv("ONECYCLE_LIBRARY_PATH");
    std::istringstream path(named ? named : "");
    for (std::string folder; std::getline(path, folder, ':');) {
        if (folder.empty()) continue;
        found.push_back(folder + "/");
        std::vector<std::string> wheels;  // folder/cudnn/lib/ and so on
        std::error_code none;
        for (const auto& entry : std::filesystem::directory_iterator(folder, none))
            if (std::filesystem::is_directory(entry.path() / "lib", none))
                wheels.push_back((entry.path() / "lib" / "").string());
        std::sort(wheels.begin(), wheels.end());
        found.insert(found.end(), wheels.begin(), wheels.end());
    }
    found.push_back("");
    found.push_back("/usr/local/cuda/lib64/");
    return found;
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& file, const std::string& what) : what_(what) {
    std::string why;
    for (const std::string& folder : folders()) {
        handle_ = dlopen((folder + file).c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_) return;
        const std::string said = dlerror();
        // A library that is there and cannot be opened says more than one that is not there.
        if (why.empty() || said.find("No such file") == std::string::npos) why = said;
    }
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
