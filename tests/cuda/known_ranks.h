// A job of which one rank is here: what the others send is known before.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "device/communicator.h"

namespace onecycle::testing {

class KnownRanks final : public Communicator {
  public:
    using Buffer = std::vector<float>;

    // `scattered` [scatter][rank]: the buffers of all ranks at each scatter. `gathered`: what everyone's
    // buffer holds after the last gather. What this rank sends is compared with both.
    KnownRanks(int rank, int ranks, std::vector<std::vector<Buffer>> scattered, Buffer gathered)
        : scattered_(std::move(scattered)), gathered_(std::move(gathered)) {
        place_.rank = rank;
        place_.ranks = ranks;
    }
    const RankPlace& place() const override { return place_; }
    std::string name() const override { return "known"; }
    void scatter(const std::byte* from, std::byte* to, const Partition& exchange) override {
        ASSERT_LT(scatters, scattered_.size());
        const std::vector<Buffer>& buffers = scattered_[scatters++];
        const Share own = exchange.share_of(place_.rank);
        const auto rank_of = [&](int place) { return static_cast<std::size_t>(exchange.members[place]); };
        for (int p = 0; p < exchange.members.count; ++p) {
            const Share& share = exchange.shares[static_cast<std::size_t>(p)];
            EXPECT_TRUE(holds(from + share.offset, buffers[static_cast<std::size_t>(place_.rank)], share))
                << "this rank sends something else to rank " << exchange.members[p];
            std::copy_n(bytes_of(buffers[rank_of(p)]) + own.offset, own.bytes,
                        to + static_cast<std::size_t>(p) * own.bytes);
        }
    }
    void gather(std::byte* buffer, const Partition& exchange) override {
        ++gathers;
        for (int p = 0; p < exchange.members.count; ++p) {
            const Share& share = exchange.shares[static_cast<std::size_t>(p)];
            ASSERT_LE(share.offset + share.bytes, gathered_.size() * sizeof(float));
            if (exchange.members[p] == place_.rank)
                EXPECT_TRUE(holds(buffer + share.offset, gathered_, share))
                    << "this rank gives something else";
            else
                std::copy_n(bytes_of(gathered_) + share.offset, share.bytes, buffer + share.offset);
        }
    }
    void broadcast(std::span<std::byte>) override { std::abort(); }
    void all_gather(std::span<const std::byte>, std::byte*) override { std::abort(); }
    void finish() override {}
    void abort(int code) override { std::exit(code); }

    std::size_t scatters = 0, gathers = 0;

  private:
    static const std::byte* bytes_of(const Buffer& buffer) {
        return reinterpret_cast<const std::byte*>(buffer.data());
    }
    static bool holds(const std::byte* bytes, const Buffer& buffer, const Share& share) {
        return std::equal(bytes, bytes + share.bytes, bytes_of(buffer) + share.offset);
    }

    RankPlace place_;
    std::vector<std::vector<Buffer>> scattered_;
    Buffer gathered_;
};

}  // namespace onecycle::testing
