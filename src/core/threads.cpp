#include "core/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
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

}  // namespace onecycle
