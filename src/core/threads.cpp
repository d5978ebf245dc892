#include "core/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <latch>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace onecycle {

void for_each_index(std::size_t n, int threads, const std::function<void(std::size_t)>& f) {
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::exception_ptr failure;
    const auto work = [&] {
        for (std::size_t i; (i = next.fetch_add(1)) < n;) try {
                f(i);
            } catch (...) {
                const std::lock_guard lock(mutex);
                if (!failure) failure = std::current_exception();
                next = n;
            }
    };
    {
        std::vector<std::jthread> workers;
        const std::size_t others = std::min(n, static_cast<std::size_t>(std::max(threads, 1)));
        try {
            for (std::size_t t = 1; t < others; ++t) workers.emplace_back(work);
        } catch (const std::system_error&) {
        }
        work();
    }
    if (failure) std::rethrow_exception(failure);
}

int threads_to_be_had(int wanted) {
    std::latch end{1};
    std::vector<std::jthread> others;
    others.reserve(static_cast<std::size_t>(std::max(wanted, 1)));
    try {
        for (int t = 1; t < wanted; ++t) others.emplace_back([&] { end.wait(); });
    } catch (const std::system_error&) {
    }
    end.count_down();
    return 1 + static_cast<int>(others.size());
}

void use_share_of_cores(int part, int parts) {
    cpu_set_t bound, all;
    CPU_ZERO(&bound);
    CPU_ZERO(&all);
    if (parts < 2 || sched_getaffinity(0, sizeof bound, &bound) != 0) return;
    for (int core = 0; core < CPU_SETSIZE; ++core) CPU_SET(core, &all);
    // The kernel leaves those that the process may use.
    if (sched_setaffinity(0, sizeof all, &all) != 0 || sched_getaffinity(0, sizeof all, &all) != 0) return;
    const int cores = CPU_COUNT(&all), fair = std::max(1, cores / parts);
    cpu_set_t own = bound;
    if (CPU_COUNT(&bound) != fair) {
        CPU_ZERO(&own);
        int begin = part * cores / parts, end = (part + 1) * cores / parts;
        if (end == begin) end = begin + 1;  // more processes than cores
        for (int core = 0, number = 0; core < CPU_SETSIZE; ++core) {
            if (!CPU_ISSET(core, &all)) continue;
            if (number >= begin && number < end) CPU_SET(core, &own);
            ++number;
        }
    }
    sched_setaffinity(0, sizeof own, &own);
}

}  // namespace onecycle
