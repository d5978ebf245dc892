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

    // What one image holds until it is released.
    class Share {
      public:
        Share(DecodeBudget& budget, std::uint64_t bytes) : budget_(budget), bytes_(bytes) {}
        ~Share() { budget_.give_back(bytes_); }
        Share(const Share&) = delete;
        Share& operator=(const Share&) = delete;

      private:
        DecodeBudget& budget_;
        std::uint64_t bytes_;
    };

    // Waits until so many bytes are left, and every earlier call has its share. Throws DecodeError
    // with both sums when they are more than the whole budget.
    Share take(std::uint64_t bytes);

    std::uint64_t bytes() const;
    std::uint64_t most_taken() const;  // at once, since it was made or set

    void set(std::uint64_t bytes);  // only while nothing is decoded

  private:
    void give_back(std::uint64_t bytes);

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t bytes_, taken_ = 0, most_taken_ = 0;
    std::uint64_t next_ticket_ = 0, served_ = 0;
};

// The one that decode_image() keeps to: at first a quarter of the free memory.
DecodeBudget& decode_budget();

// What decoding takes at most: the stored pixels, the picture in RGB, and the upright one beside it.
std::uint64_t decode_bytes(const ImageProbe& probe);

}  // namespace onecycle
