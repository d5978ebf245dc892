#include "bench/ladder/climb.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace onecycle::ladder {

double median_seconds(Device& device, const std::function<void(std::size_t, Stream&)>& work) {
    constexpr std::size_t repetitions = 8;
    std::vector<std::function<void(Stream&)>> pieces;
    for (std::size_t i = 0; i < repetitions; ++i)
        pieces.emplace_back([&work, i](Stream& stream) { work(i, stream); });
    std::vector<double> seconds = device.seconds(pieces);
    seconds.erase(seconds.begin());  // the warm-up
    std::sort(seconds.begin(), seconds.end());
    return seconds[seconds.size() / 2];
}

Counts counts_of(Device& device, const std::function<void()>& work) {
    if (!LaunchCounter::possible() || device.kind() != DeviceKind::emulated) return {};
    device.synchronize();
    LaunchCounter counter;
    work();
    device.synchronize();
    LaunchCounts sum;
    for (const LaunchCounts& launch : counter.take()) sum.add(launch);
    return sum;
}

std::string CountColumns::head() {
    return LaunchCounter::possible() ? " MB asked | sectors / fewest | bank conflicts |" : "";
}
std::string CountColumns::line() {
    return LaunchCounter::possible() ? "---------:|-----------------:|---------------:|" : "";
}
std::string CountColumns::cells(const Counts& counts) {
    if (!counts) return "";
    return fmt::format(" {:8.2f} | {:16.2f} | {:14} |", static_cast<double>(counts->bytes) / 1e6,
                       static_cast<double>(counts->sectors) / static_cast<double>(counts->fewest_sectors),
                       counts->bank_conflicts);
}

}  // namespace onecycle::ladder
