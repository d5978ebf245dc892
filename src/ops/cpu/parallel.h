// Threads. Work is always cut into pieces that depend on shapes only, never on the number of
// threads, and every sum has a fixed order: results have equal bits for any number of threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace onecycle::cpu {

// f(0) .. f(n-1), each by one thread. What one throws, the first of them, comes out when all have ended:
// OpenMP itself lets nothing out of a thread.
template <typename F>
void parallel_for(int threads, std::int64_t n, const F& f) {
    if (threads == 1 || n == 1) {
        for (std::int64_t i = 0; i < n; ++i) f(i);
        return;
    }
    std::exception_ptr failure;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (std::int64_t i = 0; i < n; ++i) try {
            f(i);
        } catch (...) {
#pragma omp critical
            if (!failure) failure = std::current_exception();
        }
    if (failure) std::rethrow_exception(failure);
}

// Starting threads takes microseconds: less work than that, in simple operations, is left to one of
// them.
inline int threads_for(int threads, std::int64_t work) {
    return work < 64 * 1024 ? 1 : threads;
}

struct Range {
    std::int64_t begin, end;
};

// Part i of n parts of [0, total), nearly equal.
inline Range part_of(std::int64_t total, std::int64_t i, std::int64_t n) {
    return {total * i / n, total * (i + 1) / n};
}

// Flat buffers are walked in pieces of this many elements.
inline constexpr std::int64_t flat_piece = 16384;

// f(Range) over [0, total) in pieces.
template <typename F>
void parallel_flat(int threads, std::int64_t total, const F& f) {
    parallel_for(threads, (total + flat_piece - 1) / flat_piece, [&](std::int64_t i) {
        f(Range{i * flat_piece, std::min(total, (i + 1) * flat_piece)});
    });
}

// OpenMP's number of threads for the calling thread, as long as this lives: what oneDNN builds a
// primitive for, and what its unplanned inner parts use.
class ThreadCount {
  public:
    explicit ThreadCount(int threads) : before_(omp_get_max_threads()) {
        if (threads != before_) omp_set_num_threads(threads);
    }
    ~ThreadCount() {
        if (omp_get_max_threads() != before_) omp_set_num_threads(before_);
    }
    ThreadCount(const ThreadCount&) = delete;
    ThreadCount& operator=(const ThreadCount&) = delete;

  private:
    int before_;
};

}  // namespace onecycle::cpu
