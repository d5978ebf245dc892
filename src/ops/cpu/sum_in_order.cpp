#include "ops/cpu/sum_in_order.h"

#include <algorithm>

#include "ops/cpu/simd.h"

namespace onecycle::cpu {

// Part by part, in blocks whose sums stay in the cache.
ONECYCLE_CLONES
void sum_in_order(float* sum, float* total, float* mean, const float* parts, std::int64_t n,
                  const SumPass& pass, Range range) {
    constexpr std::int64_t most = 1024;
    float groups[most], totals[most];
    for (std::int64_t begin = range.begin; begin < range.end; begin += most) {
        const std::int64_t length = std::min(most, range.end - begin);
        std::fill_n(groups, length, OrderedSum::nothing);
        std::fill_n(totals, length, OrderedSum::nothing);
        if (pass.before > 0) std::copy_n(sum + begin, length, groups);
        if (pass.before > 0 && total) std::copy_n(total + begin, length, totals);
        for (int p = 0; p < pass.parts; ++p) {
            const float* const part = parts + p * n + begin;
            if ((pass.before + p) % pass.group == 0) {
                for (std::int64_t i = 0; i < length; ++i) totals[i] += groups[i];
                std::copy_n(part, length, groups);
            } else {
                for (std::int64_t i = 0; i < length; ++i) groups[i] += part[i];
            }
        }
        if (total) {
            std::copy_n(groups, length, sum + begin);
            std::copy_n(totals, length, total + begin);
        }
        // Without a total these are one group, or whole ones.
        for (std::int64_t i = 0; i < length; ++i) groups[i] = totals[i] + groups[i];
        if (sum && !total) std::copy_n(groups, length, sum + begin);
        if (mean)
            for (std::int64_t i = 0; i < length; ++i) mean[begin + i] = groups[i] / pass.count;
    }
}

}  // namespace onecycle::cpu
