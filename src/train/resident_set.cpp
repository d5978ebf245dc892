#include "train/resident_set.h"

#include <fmt/format.h>

#include <chrono>

#include "data/view_rule.h"

namespace onecycle {

namespace {

constexpr double seconds_between_reports = 10;

struct Stopped {
    int signal;
};

}  // namespace

ResidentSet::ResidentSet(std::vector<Sample> samples, const KeptRule& rule, std::uint64_t seed,
                         std::shared_ptr<ImageFaults> faults, const std::shared_ptr<DecodeBudget>& budget)
    : samples_(std::move(samples)),
      faults_(std::move(faults)),
      plan_(plan_resident_images(samples_, rule, faults_.get(), budget)) {
    input_ = {.seed = seed,
              .samples = static_cast<std::int64_t>(samples_.size()),
              .pixel_bytes = static_cast<std::int64_t>(plan_.bytes),
              .view = view_rule(rule.augment),
              .largest_crop = plan_.largest_crop};
}

void ResidentSet::allocate(Device& device) {
    device_ = &device;
    memory_ = DeviceMemory(device, bytes());
}

int ResidentSet::fill(KeptImages& kept, int threads, const std::function<int()>& stop, const LogSink& log,
                      std::int64_t from) {
    if (filled_) return 0;
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
    double reported = 0;
    std::vector<ResidentImage> table = plan_.table;
    std::size_t usable = 0;
    std::byte* const pixels = memory_.data() + input_.pixels_at();
    try {
        make_resident_images(
            samples_, plan_, kept, threads,
            [&](std::size_t k, const Image& image) {
                if (const int signal = stop ? stop() : 0) throw Stopped{signal};
                if (image.rgb.empty()) {
                    table[k].width = table[k].height = 0;
                    return;
                }
                ++usable;
                device_->copy_in(pixels + plan_.table[k].offset, image.rgb.data(), image.rgb.size());
                if (log && seconds() > reported + seconds_between_reports) {
                    reported = seconds();
                    log(LogLevel::info,
                        fmt::format("{} of {} training images are ready", k + 1, samples_.size()));
                }
            },
            faults_.get(), from);
    } catch (const Stopped& stopped) {
        return stopped.signal;
    }
    if (faults_) faults_->name_until(true, from);
    if (usable == 0)
        throw UnusableImage(samples_.front().path(), "nor can any other training image be used", "");
    device_->copy_in(memory_.data(), table.data(), input_.table_bytes());
    filled_ = true;
    if (log)
        log(LogLevel::info,
            fmt::format(
                "{} training images are on the device: {:.0f} MB, {} of them made smaller, in {:.1f} s",
                usable, static_cast<double>(plan_.bytes) / 1e6, plan_.shrunk, seconds()));
    return 0;
}

}  // namespace onecycle
