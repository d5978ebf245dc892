// Preloaded into the program by scripts/fault_sweep and scripts/kill_test: lets the n-th system call
// that changes or reads something below a folder fail, or kills the program just before it.
//
//   ONECYCLE_FAULT_BELOW   the folder
//   ONECYCLE_FAULT_AT      which call, from 1; 0: none, they are counted only
//   ONECYCLE_FAULT_CODE    an errno; 0: a read or write of a part only, another call is left alone;
//                          kill: SIGKILL
//   ONECYCLE_FAULT_FOREVER 1: all later calls fail as well
//   ONECYCLE_FAULT_THREADS how many threads may run beside the first; without it: any number
//   ONECYCLE_FAULT_COUNT   a file that gets the number of calls when the program ends
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

long number_of(const char* name) {
    const char* text = std::getenv(name);
    return text ? std::atol(text) : 0;
}

std::string text_of(const char* name) {
    const char* text = std::getenv(name);
    return text ? text : "";
}

template <class Call>
Call* real(const char* name) {
    return reinterpret_cast<Call*>(::dlsym(RTLD_NEXT, name));
}

struct Fault {
    const std::string below = text_of("ONECYCLE_FAULT_BELOW"), count_to = text_of("ONECYCLE_FAULT_COUNT");
    const long at = number_of("ONECYCLE_FAULT_AT"), code = number_of("ONECYCLE_FAULT_CODE");
    const bool for_ever = number_of("ONECYCLE_FAULT_FOREVER") != 0;
    const bool kills = text_of("ONECYCLE_FAULT_CODE") == "kill";
    std::atomic<long> calls{0};

    ~Fault() {
        if (count_to.empty()) return;
        if (std::FILE* file = std::fopen(count_to.c_str(), "w")) {
            std::fprintf(file, "%ld\n", calls.load());
            std::fclose(file);
        }
    }

    bool concerns(const char* path) const {
        return !below.empty() && std::strncmp(path, below.c_str(), below.size()) == 0;
    }
    bool concerns(int descriptor) const {
        char link[64], path[PATH_MAX];
        std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        const ssize_t length = ::readlink(link, path, sizeof path - 1);
        if (length <= 0) return false;
        path[length] = '\0';
        return concerns(path);
    }
    // Whether this call, which concerns the folder, is to go wrong.
    bool strikes() {
        const long now = ++calls;
        if (kills && now == at) ::kill(::getpid(), SIGKILL);
        return !kills && at > 0 && (for_ever ? now >= at : now == at);
    }
};

Fault& fault() {
    static Fault instance;
    return instance;
}

// The call's own result, or -1 with the errno that was asked for.
template <class What, class Call>
auto guarded(const What& what, Call call) -> decltype(call()) {
    if (fault().concerns(what) && fault().strikes() && fault().code != 0) {
        errno = static_cast<int>(fault().code);
        return -1;
    }
    return call();
}

// Likewise, or with half of the bytes.
template <class Call>
ssize_t guarded_bytes(int file, size_t bytes, Call call) {
    if (!fault().concerns(file) || !fault().strikes()) return call(bytes);
    if (fault().code == 0) return call(bytes > 1 ? bytes / 2 : bytes);
    errno = static_cast<int>(fault().code);
    return -1;
}

int opened(const char* name, const char* path, int flags, mode_t mode) {
    return guarded(path, [&] { return real<int(const char*, int, ...)>(name)(path, flags, mode); });
}

// Threads that run, where their number is limited.
std::atomic<long> running{0};

struct Work {
    void* (*begin)(void*);
    void* with;
};

void* run_counted(void* given) {
    const Work work = *static_cast<Work*>(given);
    delete static_cast<Work*>(given);
    void* const result = work.begin(work.with);
    --running;
    return result;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened("open", path, flags, mode);
}
int open64(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened("open64", path, flags, mode);
}
int __open_2(const char* path, int flags) {
    return opened("open", path, flags, 0);
}
ssize_t pwrite(int file, const void* from, size_t bytes, off_t at) {
    return guarded_bytes(file, bytes, [&](size_t part) {
        return real<ssize_t(int, const void*, size_t, off_t)>("pwrite")(file, from, part, at);
    });
}
ssize_t pread(int file, void* to, size_t bytes, off_t at) {
    return guarded_bytes(file, bytes, [&](size_t part) {
        return real<ssize_t(int, void*, size_t, off_t)>("pread")(file, to, part, at);
    });
}
ssize_t __pread_chk(int file, void* to, size_t bytes, off_t at, size_t) {
    return pread(file, to, bytes, at);
}
int fsync(int file) {
    return guarded(file, [&] { return real<int(int)>("fsync")(file); });
}
int ftruncate(int file, off_t size) noexcept {
    return guarded(file, [&] { return real<int(int, off_t)>("ftruncate")(file, size); });
}
int rename(const char* from, const char* to) noexcept {
    return guarded(to, [&] { return real<int(const char*, const char*)>("rename")(from, to); });
}
int unlink(const char* path) noexcept {
    return guarded(path, [&] { return real<int(const char*)>("unlink")(path); });
}
int mkdir(const char* path, mode_t mode) noexcept {
    return guarded(path, [&] { return real<int(const char*, mode_t)>("mkdir")(path, mode); });
}
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*begin)(void*),
                   void* with) noexcept {
    static const char* const limit = std::getenv("ONECYCLE_FAULT_THREADS");
    const auto create =
        real<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>("pthread_create");
    if (!limit) return create(thread, attributes, begin, with);
    if (++running > std::atol(limit)) return --running, EAGAIN;
    return create(thread, attributes, run_counted, new Work{begin, with});
}
// A close that fails has closed the file all the same.
int close(int file) {
    const bool strikes = fault().concerns(file) && fault().strikes() && fault().code != 0;
    const int result = real<int(int)>("close")(file);
    if (!strikes) return result;
    errno = static_cast<int>(fault().code);
    return -1;
}

}  // extern "C"
