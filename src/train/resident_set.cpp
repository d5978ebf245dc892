#include "train/resident_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "data/view_rule.h"
#include "rules/sample_order.h"

namespace onecycle {

namespace {

constexpr double seconds_between_reports = 10;

struct Stopped {
    int signal;
};

std::vector<int> shares_of_samples(std::size_t samples, std::uint64_t seed, int shares) {
    const SampleOrder order{.seed = seed,
                            .purpose = RandomPurpose::shuffle,
                            .samples = static_cast<std::int64_t>(samples),
                            .batch = 1,
                            .batches_per_update = shares,
                            .shares = shares};
    std::vector<int> share_of(samples);
    for (int share = 0; share < shares; ++share)
        for (std::int64_t place = 0; place < order.samples_in(share); ++place)
            share_of[static_cast<std::size_t>(order.sample_in(share, place))] = share;
    return share_of;
}

// A rank's batches have the numbers that leave its own over the number of ranks.
bool draws_from(const RankPlace& place, int share, int shares) {
    return (share - place.rank) % std::gcd(shares, place.ranks) == 0;
}

}  // namespace

ResidentSet::ResidentSet(std::vector<Sample> samples, const KeptRule& rule, std::uint64_t seed, int shares,
                         const RankPlace& place, std::shared_ptr<ImageFaults> faults,
                         const std::shared_ptr<DecodeBudget>& budget)
    : samples_(std::move(samples)),
      share_of_(shares_of_samples(samples_.size(), seed, shares)),
      faults_(std::move(faults)),
      plan_(plan_resident_images(samples_, rule, faults_.get(), budget,
                                 [&](std::size_t k) { return draws_from(place, share_of_[k], shares); })) {
    input_ = {.seed = seed,
              .samples = static_cast<std::int64_t>(samples_.size()),
              .pixel_bytes = static_cast<std::int64_t>(plan_.bytes),
              .shares = shares,
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
    std::size_t done = 0;
    std::vector<std::size_t> usable(static_cast<std::size_t>(input_.shares));
    std::byte* const pixels = memory_.data() + input_.pixels_at();
    try {
        make_resident_images(
            samples_, plan_, kept, threads,
            [&](std::size_t k, const Image& image) {
                if (const int signal = stop ? stop() : 0) throw Stopped{signal};
                ++done;
                if (image.rgb.empty()) {
                    table[k].width = table[k].height = 0;
                    return;
                }
                ++usable[static_cast<std::size_t>(share_of_[k])];
                device_->copy_in(pixels + plan_.table[k].offset, image.rgb.data(), image.rgb.size());
                if (log && seconds() > reported + seconds_between_reports) {
                    reported = seconds();
                    log(LogLevel::info,
                        fmt::format("{} of {} training images are ready", done, plan_.held.size()));
                }
            },
            faults_.get(), from);
    } catch (const Stopped& stopped) {
        return stopped.signal;
    }
    if (faults_) faults_->name_until(true, from);
    // Whatever is drawn from must have an image to show.
    for (const std::size_t k : plan_.held)
        if (usable[static_cast<std::size_t>(share_of_[k])] == 0)
            throw UnusableImage(samples_[k].path(), "nor can any other training image be used", "");
    device_->copy_in(memory_.data(), table.data(), input_.table_bytes());
    filled_ = true;
    if (log)
        log(LogLevel::info,
            fmt::format(
                "{} training images are on the device: {:.0f} MB, {} of them made smaller, in {:.1f} s",
                std::accumulate(usable.begin(), usable.end(), std::size_t{0}),
                static_cast<double>(plan_.bytes) / 1e6, plan_.shrunk, seconds()));
    return 0;
}

}  // namespace onecycle
