// The ranks of a job: processes that train one model together, each with its own device and its
// share of the images. A rank is a micro batch that runs elsewhere: the gradients of all ranks are
// added in an order of their numbers alone (rules/sum_order.h), so that R ranks compute what one rank
// does with --accumulate R.
//
// A communicator only moves bytes. Sums are ours (all_reduce in ops/kinds.h), so that no result
// depends on what carries them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "onecycle/ranks.h"

namespace onecycle {

// A part of a buffer, in bytes.
struct Share {
    std::size_t offset = 0, bytes = 0;
};

// Cuts `elements` of `element_bytes` into a share a rank, in order and as equal as possible; each
// begins at a multiple of `alignment` elements, and the last ones may be empty.
std::vector<Share> shares_of(std::int64_t elements, std::size_t element_bytes, int ranks,
                             std::int64_t alignment);

// Some of the ranks: first, first + stride, first + 2 stride, ...
struct Members {
    int first = 0, stride = 1, count = 1;

    int operator[](int place) const { return first + place * stride; }
    int place_of(int rank) const { return (rank - first) / stride; }
};

// How some ranks part a buffer among them that they exchange. The members all hold an equal one of
// these.
struct Partition {
    Members members;
    std::vector<Share> shares;  // by place among the members

    const Share& share_of(int rank) const { return shares[static_cast<std::size_t>(members.place_of(rank))]; }
};
inline Partition among_all(std::vector<Share> shares) {
    return {{.count = static_cast<int>(shares.size())}, std::move(shares)};
}

// All ranks make the same calls in the same order, of those among some the members; each from one
// thread. A call waits for the others. Throws Error(device) naming the rank and host that is lost,
// where that is known.
class Communicator {
  public:
    virtual ~Communicator() = default;

    virtual const RankPlace& place() const = 0;
    // Whose software carries the bytes, with its version: "Open MPI 4.1.4".
    virtual std::string name() const = 0;

    // --- the host's data ---

    // Rank 0's bytes for all. The size must be the same everywhere.
    virtual void broadcast(std::span<std::byte> bytes) = 0;
    // `all` [ranks][own.size()]: everyone's, in the order of ranks.
    virtual void all_gather(std::span<const std::byte> own, std::byte* all) = 0;

    // --- a step's data, in host memory ---

    // Sends each member its share of `from`. `to` [members][own share's bytes] receives this rank's
    // share of everyone's buffer, in the order of members.
    virtual void scatter(const std::byte* from, std::byte* to, const Partition& exchange) = 0;
    // Fills the shares of the other members in `buffer` with what their owners hold there.
    virtual void gather(std::byte* buffer, const Partition& exchange) = 0;

    // --- the end ---

    // All ranks end well: waits for all, then nothing more may be called.
    virtual void finish() = 0;
    // Ends the whole job now, with this exit code. May be called by any thread.
    [[noreturn]] virtual void abort(int code) = 0;
};

// Helpers on the host's data.
void broadcast(Communicator& ranks, std::string& text);                            // rank 0's text
std::vector<std::string> all_gather(Communicator& ranks, const std::string& own);  // by rank
std::int64_t largest(Communicator& ranks, std::int64_t own);
// Whether the ranks are whole groups of eight, each within one machine, so that gradients can be
// summed there before they leave it. ONECYCLE_EXCHANGE_LEVELS=1 says no. All ranks call it.
bool groups_share_machines(Communicator& ranks);
// Texts of any bytes as one, and back.
std::string packed(const std::vector<std::string>& texts);
std::vector<std::string> unpacked(const std::string& text);

// What doctor says of it.
struct RanksSupport {
    std::string module;   // the MPI module's path; empty: it is not there
    std::string library;  // "Open MPI 4.1.4"; empty: it cannot be opened
    std::string missing;  // then why not, and what to install
};
RanksSupport ranks_support();

}  // namespace onecycle
