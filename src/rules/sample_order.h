// Which samples each training batch holds: a formula of (seed, epoch, position), for host and
// device.
#pragma once

#include <cstdint>

#include "rules/host_device.h"
#include "rules/rng.h"

namespace onecycle {

// Batches are numbered through all epochs. An epoch has whole batches only, and whole updates of
// `batches_per_update` batches; the samples that are left over come in another epoch. A list with
// fewer samples than one batch or one update is an epoch all the same.
//
// With several `shares` the samples are dealt out once for all epochs, by a random permutation, so
// that shares differ in size by at most one. Batch `number` is of share `number` % `shares`, so that
// with as many ranks each needs the samples of one share alone.
struct SampleOrder {
    std::uint64_t seed;
    RandomPurpose purpose;
    std::int64_t samples;  // at least 1 for each share
    std::int32_t batch;
    std::int32_t batches_per_update;  // a multiple of `shares`
    std::int32_t shares = 1;

    // 0: an epoch has fewer whole batches than an update takes.
    ONECYCLE_HD std::int64_t updates_per_epoch() const { return samples / batch / batches_per_update; }
    ONECYCLE_HD std::int64_t batches_per_epoch() const {
        if (const std::int64_t updates = updates_per_epoch()) return updates * batches_per_update;
        const std::int64_t whole = samples / shares / batch;
        return (whole > 0 ? whole : 1) * shares;
    }
    ONECYCLE_HD std::uint32_t epoch_of(std::int64_t number) const {
        return static_cast<std::uint32_t>(number / batches_per_epoch());
    }
    ONECYCLE_HD std::int32_t share_of(std::int64_t number) const {
        return static_cast<std::int32_t>(number % shares);
    }
    ONECYCLE_HD std::int64_t samples_in(std::int32_t share) const {
        return (samples - share + shares - 1) / shares;
    }
    // The sample at this place, below samples_in(), of a share.
    ONECYCLE_HD std::int64_t sample_in(std::int32_t share, std::int64_t place) const {
        return shares == 1 ? place : permuted(place * shares + share, samples, RandomPurpose::shares, 0, 0);
    }
    // The sample at this position of the batch of this number. Where its image cannot be used,
    // those after it in the epoch's order, one `turn` after the other, are to take its place; after
    // the last comes the first. Of the share's order, where there are several.
    ONECYCLE_HD std::int64_t sample_at(std::int64_t number, int position, std::int64_t turn = 0) const {
        const std::int32_t share = share_of(number);
        const std::int64_t n = samples_in(share),
                           at = (number % batches_per_epoch() / shares * batch + position + turn) % n;
        return sample_in(share, permuted(at, n, purpose, epoch_of(number), share));
    }
    // The number of micro batch `micro` of update `update`, when update 0 begins with epoch
    // `first_epoch`.
    ONECYCLE_HD std::int64_t number_of(std::int64_t update, int micro, std::uint32_t first_epoch) const {
        return first_epoch * batches_per_epoch() + update * batches_per_update + micro;
    }

    bool operator==(const SampleOrder&) const = default;

  private:
    ONECYCLE_HD std::int64_t permuted(std::int64_t at, std::int64_t n, RandomPurpose key, std::uint32_t epoch,
                                      std::int32_t part) const {
        return static_cast<std::int64_t>(permuted_index(static_cast<std::uint64_t>(at),
                                                        static_cast<std::uint64_t>(n), seed, key, epoch,
                                                        static_cast<std::uint32_t>(part)));
    }
};

}  // namespace onecycle
