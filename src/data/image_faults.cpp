#include "data/image_faults.h"

#include <algorithm>
#include <utility>

#include "core/echoed.h"

namespace onecycle {

namespace {

constexpr int most_lines = 10;

std::string fix_of(const std::string& option) {
    return option.empty() ? "put it back as it was" : "put it back as it was, or use " + option;
}

}  // namespace

BadImages parse_bad_images(const std::string& name) {
    if (name == "skip") return BadImages::skip;
    if (name == "fail") return BadImages::fail;
    throw Error(ErrorKind::usage, "unknown value", "--bad-images", "'" + name + "'", "skip or fail");
}

UnusableImage::UnusableImage(const std::string& where, const std::string& why, const std::string& option)
    : Error(ErrorKind::data, "cannot use image", where, why, fix_of(option)),
      where_(where),
      why_(why),
      option_(option) {}

bool ImageFaults::left_out(bool training, std::int64_t sample, std::int64_t batch) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find({training, sample});
    return found != entries_.end() && found->second.fault.from <= batch;
}

void ImageFaults::add(ImageFault fault) {
    const auto too_many = [&](std::size_t bad) {
        return rules_.images > 0 &&
               static_cast<double>(bad) > rules_.max_bad * static_cast<double>(rules_.images);
    };
    if (rules_.bad_images == BadImages::fail)
        throw UnusableImage(
            fault.path, fault.reason,
            too_many(rules_.left_out + 1) ? "--bad-images skip --max-bad 1" : "--bad-images skip");
    const std::lock_guard lock(mutex_);
    const auto [entry, fresh] = entries_.try_emplace({fault.training, fault.sample}, Entry{fault});
    if (!fresh) {
        if (fault.from < entry->second.fault.from) entry->second.fault.from = fault.from;
        return;
    }
    const std::size_t bad = entries_.size() + rules_.left_out;
    if (too_many(bad))
        throw UnusableImage(fault.path,
                            fault.reason + "; with it " + std::to_string(bad) + " of " +
                                std::to_string(rules_.images) + " images cannot be used, too many",
                            "--bad-images skip --max-bad 1");
}

void ImageFaults::note_damaged(const std::string& path) {
    const std::lock_guard lock(mutex_);
    damaged_.try_emplace(path, false);
}

void ImageFaults::name_until(bool training, std::int64_t batch) {
    std::vector<ImageFault> fresh;
    std::vector<std::string> damaged;
    {
        const std::lock_guard lock(mutex_);
        for (auto& [key, entry] : entries_)
            if (!entry.named && entry.fault.training == training && entry.fault.from <= batch) {
                entry.named = true;
                fresh.push_back(entry.fault);
            }
        for (auto& [path, named] : damaged_)
            if (!std::exchange(named, true)) damaged.push_back(path);
    }
    if (!rules_.log) return;
    for (const std::string& path : damaged)
        if (++damaged_lines_ <= most_lines)
            rules_.log(LogLevel::warning, echoed(path) + ": damaged; it is used as far as it can be decoded");
        else if (damaged_lines_ == most_lines + 1)
            rules_.log(LogLevel::warning, "more images are damaged, and used; they are not named here");
    std::stable_sort(fresh.begin(), fresh.end(),
                     [](const ImageFault& a, const ImageFault& b) { return a.from < b.from; });
    for (const ImageFault& fault : fresh) {
        if (++lines_ > most_lines + 1) return;
        if (lines_ == most_lines + 1)
            rules_.log(LogLevel::warning, "more images can no longer be used; they are not named here");
        else
            rules_.log(LogLevel::warning,
                       echoed(fault.path) + ": " + echoed(fault.reason) +
                           (training ? "; another image takes its place" : "; left out of the evaluation"));
    }
}

void ImageFaults::restore(const std::vector<ImageFault>& faults) {
    const std::lock_guard lock(mutex_);
    entries_.clear();
    for (const ImageFault& fault : faults) entries_[{fault.training, fault.sample}] = {fault, true};
}

std::vector<ImageFault> ImageFaults::before(std::int64_t batch) const {
    const std::lock_guard lock(mutex_);
    std::vector<ImageFault> faults;
    for (const auto& [key, entry] : entries_)
        if (!entry.fault.training || entry.fault.from < batch) faults.push_back(entry.fault);
    return faults;
}

}  // namespace onecycle
