#include "report/access_counts_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/text.h"

namespace onecycle {

namespace {

std::string ratio(double a, double b) {
    return b > 0 ? fmt::format("{:.2f}", a / b) : "-";
}

}  // namespace

std::string access_counts_text(const AccessCounts& counts) {
    const TrainOptions& train = counts.options.train;
    const std::vector<CountedKernel> kernels = counts.kernels();
    std::string text = fmt::format(
        "What the kernels of one training step of {} at {} px, batch {}, {}, {}, ask of memory: {} kernels, "
        "{} "
        "launches\n\n",
        train.arch, train.size, train.batch_size, counts.precision, to_string(train.optimizer),
        kernels.size(), counts.launches.size());
    int wide = 6;
    for (const CountedKernel& k : kernels) wide = std::max(wide, columns(k.kernel));
    const auto row = [&](const std::string& name, const auto&... cells) {
        text += pad_right(name, wide) +
                fmt::format("{:>9}{:>11}{:>11}{:>7}{:>11}{:>9}{:>11}{:>11}{:>7}\n", cells...);
    };
    row("kernel", "launches", "sectors", "fewest", "ratio", "conflicts", "each", "MB asked", "declared",
        "ratio");
    for (const CountedKernel& k : kernels)
        row(k.kernel, k.launches, k.sectors, k.fewest_sectors,
            ratio(static_cast<double>(k.sectors), static_cast<double>(k.fewest_sectors)), k.bank_conflicts,
            ratio(static_cast<double>(k.bank_conflicts), static_cast<double>(k.shared_requests)),
            fmt::format("{:.3f}", static_cast<double>(k.bytes) / 1e6),
            fmt::format("{:.3f}", k.declared / 1e6), ratio(static_cast<double>(k.bytes), k.declared));
    text +=
        "\nSectors: pieces of 32 bytes that the loads and stores of warps touch; fewest: what the bytes "
        "would "
        "fill that were asked for.\n"
        "Conflicts: passes over the banks of shared memory beyond the first; each: of a request.\n"
        "MB asked: global memory, once for each request of a warp; declared: what the operation moves at "
        "least, all its kernels together.\n"
        "Products that cuDNN and cuBLAS compute on a GPU are host loops here, and have no row.\n";
    return text;
}

}  // namespace onecycle
