// How much memory images may take while they are decoded, over all threads.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "onecycle/image.h"

namespace onecycle {

// Threads take their share in the order in which they ask: a large image is not passed by for ever.
class DecodeBudget {
  public:
    explicit DecodeBudget(std::uint64_t bytes) : bytes_(bytes) {}

    // What one image holds.
    class Share {
      public:
        // Waits until so many bytes are left, and every earlier share was given out. Throws as
        // check(). Without a budget (null) there is nothing to wait for.
        Share(DecodeBudget* budget, std::uint64_t bytes);
        ~Share() {
            if (budget_) budget_->give_back(bytes_);
        }
        Share(const Share&) = delete;
        Share& operator=(const Share&) = delete;

      private:
        DecodeBudget* budget_;
        std::uint64_t bytes_;
    };

    // Throws DecodeError with both sums when so many bytes are more than the whole budget.
    void check(std::uint64_t bytes) const;

    std::uint64_t bytes() const { return bytes_; }
    std::uint64_t most_taken() const;  // at once

  private:
    void take(std::uint64_t bytes);
    void give_back(std::uint64_t bytes);

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    const std::uint64_t bytes_;
    std::uint64_t taken_ = 0, most_taken_ = 0;
    std::uint64_t next_ticket_ = 0, served_ = 0;
};

// What decoding takes at most: the stored pixels, the picture in RGB, the upright one beside it, and
// what the decoder holds.
std::uint64_t decode_bytes(const ImageProbe& probe);

// What no format exceeds, of a picture of so many pixels in a file of so many bytes: an AVIF of 10
// bits with alpha that is cut to half its size, a TIFF whose tile is larger than its picture, and a
// copy of what stands in the file.
constexpr std::uint64_t most_decode_bytes(std::uint64_t pixels, std::uint64_t file_bytes) {
    return 64 * pixels + (std::uint64_t{128} << 20) + file_bytes;
}

}  // namespace onecycle
