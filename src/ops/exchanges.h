// Which ranks an op exchanges data with, and who owns which part of it. One exchange is among all
// ranks; with two levels each goes first among the eight of a group, whose link is the faster one,
// and then among those of the same place in each group, or the other way round.
#pragma once

#include <vector>

#include "device/communicator.h"
#include "ops/ops.h"

namespace onecycle {

// How all_reduce spreads a bucket of so many floats: what this rank owns of the last one is the sum
// of all ranks. Each spreads what the rank owns of the one before. The sums go back by gathers of the
// same exchanges, the last one first.
std::vector<Partition> reducing_exchanges(const OpDesc& desc, std::int64_t elements);

// How everyone gets everyone's: gathers, one after the other, of a buffer [ranks] of so many bytes
// each.
std::vector<Partition> gathering_exchanges(const OpDesc& desc, std::size_t bytes);

// All exchanges of an op, in order; none of one that stays on its rank.
std::vector<Partition> exchanges_of(const OpDesc& desc);

// What a member owns, in bytes, as if the shares were equal.
double mean_share(const Partition& exchange);

}  // namespace onecycle
