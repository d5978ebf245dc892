#include "data/decode_budget.h"

#include <algorithm>
#include <string>

#include "core/free_memory.h"
#include "data/codecs.h"

namespace onecycle {

void DecodeBudget::check(std::uint64_t bytes) const {
    if (bytes > bytes_)
        throw DecodeError("too large: decoding it needs " + std::to_string(bytes) + " bytes, more than the " +
                          std::to_string(bytes_) + " it may take; --decode-memory " + std::to_string(bytes) +
                          " allows it");
}

DecodeBudget::Share::Share(DecodeBudget* budget, std::uint64_t bytes) : budget_(budget), bytes_(bytes) {
    if (budget_) budget_->take(bytes_);
}

void DecodeBudget::take(std::uint64_t bytes) {
    check(bytes);
    std::unique_lock lock(mutex_);
    const std::uint64_t ticket = next_ticket_++;
    changed_.wait(lock, [&] { return ticket == served_ && bytes <= bytes_ - taken_; });
    ++served_;
    taken_ += bytes;
    most_taken_ = std::max(most_taken_, taken_);
    changed_.notify_all();
}

void DecodeBudget::give_back(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    taken_ -= bytes;
    changed_.notify_all();
}

std::uint64_t DecodeBudget::most_taken() const {
    const std::lock_guard lock(mutex_);
    return most_taken_;
}

std::shared_ptr<DecodeBudget> make_decode_budget(std::uint64_t bytes) {
    return std::make_shared<DecodeBudget>(bytes > 0 ? bytes : free_memory() / 4);
}

std::uint64_t decode_bytes(const ImageProbe& probe) {
    const auto pixels = static_cast<std::uint64_t>(probe.width) * static_cast<std::uint64_t>(probe.height);
    // Of a TIFF's strips and the planes of an AVIF or HEIC, work_bytes counts what is held.
    const auto stored = probe.format == ImageFormat::tiff || probe.format == ImageFormat::heif
                            ? 0
                            : static_cast<std::uint64_t>(std::max(probe.channels, 1)) *
                                  static_cast<std::uint64_t>(probe.bit_depth > 8 ? 2 : 1);
    return pixels * (stored + 3 + (probe.orientation == 1 ? 0 : 3)) + probe.work_bytes;
}

}  // namespace onecycle
