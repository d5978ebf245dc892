// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC'11). A number is a pure function of (seed, purpose, epoch, index, draw): the same on
// host and device, for any number of threads, and at any step without replaying the steps before
// it.
#pragma once

#include <cstdint>

#include "rules/host_device.h"

namespace onecycle {

// What a stream of numbers is used for. Two purposes never share numbers. Values are part of the
// file format (they decide data order and initial weights): never renumber.
enum class RandomPurpose : std::uint32_t {
    initial_weights = 1,  // index = tensor
    split = 2,            // index = class
    shuffle = 3,          // epoch = epoch; keys the permutation
    augment = 4,          // epoch = epoch, index = sample
    demo_data = 5,        // index = image
    range_test = 6,       // keys the data order of a range test
    dropout = 7,          // epoch = update, index = layer and micro batch; the draw is the element
    mix = 8,              // epoch = update, index = place in the batch and micro batch
    shares = 9,           // keys which share of several a sample belongs to
};

struct PhiloxBlock {
    std::uint32_t word[4];
};

// One block of Philox4x32-10.
ONECYCLE_HD inline PhiloxBlock philox4x32(PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter.word[0];
        const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter.word[2];
        counter = {
            {static_cast<std::uint32_t>(p1 >> 32) ^ counter.word[1] ^ key0, static_cast<std::uint32_t>(p1),
             static_cast<std::uint32_t>(p0 >> 32) ^ counter.word[3] ^ key1, static_cast<std::uint32_t>(p0)}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// A stream of numbers for one (seed, purpose, epoch, index). Cheap to make; copy it to fork it.
class RandomStream {
  public:
    ONECYCLE_HD RandomStream(std::uint64_t seed, RandomPurpose purpose, std::uint32_t epoch,
                             std::uint64_t index)
        : key0_(static_cast<std::uint32_t>(seed) ^ (static_cast<std::uint32_t>(purpose) * 0x85EBCA6Bu)),
          key1_(static_cast<std::uint32_t>(seed >> 32) + static_cast<std::uint32_t>(purpose)),
          epoch_(epoch),
          index_(index) {}

    // Uniform over all 32-bit values.
    ONECYCLE_HD std::uint32_t next() {
        if (used_ == 4) {
            block_ = philox4x32({{draw_++, epoch_, static_cast<std::uint32_t>(index_),
                                  static_cast<std::uint32_t>(index_ >> 32)}},
                                key0_, key1_);
            used_ = 0;
        }
        return block_.word[used_++];
    }

    // Uniform in [0, 1), a multiple of 2^-24 (exact in float).
    ONECYCLE_HD double uniform() { return (next() >> 8) * (1.0 / 16777216.0); }
    ONECYCLE_HD double uniform(double low, double high) { return low + mul_rn(high - low, uniform()); }

    // The four numbers from 4 block on, whatever was drawn before: what a GPU's thread takes for
    // itself.
    ONECYCLE_HD PhiloxBlock block(std::uint32_t block) const {
        return philox4x32(
            {{block, epoch_, static_cast<std::uint32_t>(index_), static_cast<std::uint32_t>(index_ >> 32)}},
            key0_, key1_);
    }

    // Uniform in 0 .. n-1, n >= 1. The bias is below n / 2^32.
    ONECYCLE_HD std::uint32_t below(std::uint32_t n) {
        return static_cast<std::uint32_t>((std::uint64_t{next()} * n) >> 32);
    }

  private:
    std::uint32_t key0_, key1_, epoch_;
    std::uint64_t index_;
    std::uint32_t draw_ = 0;
    int used_ = 4;
    PhiloxBlock block_{};
};

// Standard normal by Box-Muller; uses two draws. Host only: for demo data.
double normal(RandomStream& stream);

// The element at position `position` of a keyed random permutation of 0 .. n-1: a six-round Feistel
// network over the next even number of bits, walked until the result falls below n. A pure
// function, so the data order at any step needs no memory. Requires position < n. `part` tells
// permutations of one key apart.
ONECYCLE_HD inline std::uint64_t permuted_index(std::uint64_t position, std::uint64_t n, std::uint64_t seed,
                                                RandomPurpose purpose, std::uint32_t epoch,
                                                std::uint32_t part = 0) {
    int half_bits = 1;
    while (half_bits < 31 && (std::uint64_t{1} << (2 * half_bits)) < n) ++half_bits;
    const std::uint32_t mask = (std::uint32_t{1} << half_bits) - 1;
    const std::uint32_t key0 =
        static_cast<std::uint32_t>(seed) ^ (static_cast<std::uint32_t>(purpose) * 0x85EBCA6Bu);
    const std::uint32_t key1 = static_cast<std::uint32_t>(seed >> 32) + static_cast<std::uint32_t>(purpose);
    std::uint64_t value = position;
    do {
        std::uint32_t left = static_cast<std::uint32_t>(value >> half_bits);
        std::uint32_t right = static_cast<std::uint32_t>(value) & mask;
        for (std::uint32_t round = 0; round < 6; ++round) {
            const std::uint32_t mixed =
                philox4x32({{right, round, epoch, 0x5FEA57E1u + part}}, key0, key1).word[0];
            const std::uint32_t next = left ^ (mixed & mask);
            left = right;
            right = next;
        }
        value = (std::uint64_t{left} << half_bits) | right;
    } while (value >= n);
    return value;
}

}  // namespace onecycle
