#include "ops/limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "ops/cpu/parallel.h"
#include "ops/cpu/simd.h"

namespace onecycle {

namespace {

constexpr std::int64_t copied = std::int64_t{128} << 20;  // bytes: far above any cache
constexpr std::int64_t rounds = 2'000'000;

// Multiply-adds in chains that do not depend on each other; enough of them fill two units with a
// latency of 4 cycles. What they come to is returned, so that they are not left out. Each shape
// suits one kind of registers: 16 of 8 floats, 32 of 16.
template <typename Vector, int chains>
ONECYCLE_INLINE float multiply_adds(float start) {
    Vector sums[chains];
    for (int i = 0; i < chains; ++i) sums[i] = Vector{} + (start + static_cast<float>(i));
    const Vector factor = Vector{} + 0.999f, term = Vector{} + 0.001f;
    for (std::int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 32
        for (int i = 0; i < chains; ++i) sums[i] = sums[i] * factor + term;
    float sum = 0;
    for (const Vector& s : sums) sum += s[0];
    return sum;
}
typedef float Float16 __attribute__((vector_size(64)));
constexpr int narrow_chains = 12, wide_chains = 24;
ONECYCLE_CLONES float narrow(float start) {
    return multiply_adds<simd::Float8, narrow_chains>(start);
}
ONECYCLE_CLONES float wide(float start) {
    return multiply_adds<Float16, wide_chains>(start);
}

template <typename F>
double seconds_of(const F& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Limits measure_cpu_limits(int threads) {
    std::vector<char> from(static_cast<std::size_t>(copied), 1), to(from.size(), 2);
    std::vector<float> results(static_cast<std::size_t>(threads));
    const auto best_of_five = [&](const auto& part) {
        double best = 1e30;
        for (int i = 0; i < 5; ++i)
            best = std::min(best, seconds_of([&] { cpu::parallel_for(threads, threads, part); }));
        return best;
    };
    const double copy = best_of_five([&](std::int64_t i) {
        const auto range = cpu::part_of(copied, i, threads);
        std::memcpy(to.data() + range.begin, from.data() + range.begin,
                    static_cast<std::size_t>(range.end - range.begin));
    });
    const auto rate = [&](float (*work)(float), int floats) {
        const double seconds = best_of_five(
            [&](std::int64_t i) { results[static_cast<std::size_t>(i)] = work(static_cast<float>(i)); });
        return 2.0 * floats * static_cast<double>(rounds) * threads / seconds;
    };
    return {.bytes_per_second = 2.0 * copied / copy,
            .flops_per_second = std::max(rate(narrow, 8 * narrow_chains), rate(wide, 16 * wide_chains)),
            .source = "measured now: copies of 128 MiB, fp32 multiply-adds, the best of 5"};
}

}  // namespace onecycle
