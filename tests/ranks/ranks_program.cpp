// Run by mpirun: what each rank does in test_transport.py. Every value that a rank receives is checked
// against a formula; a wrong one ends it with code 1.
//     ranks_program exchange          every function, with odd and empty sizes
//     ranks_program emulated          the same for the emulated device, in a graph
//     ranks_program large BYTES       one buffer of so many bytes
//     ranks_program groups            says whether groups of eight share machines
//     ranks_program one               expects no job
//     ranks_program call SECONDS      prints "rank R: PID", calls for the others, and ends well
//     ranks_program compute SECONDS   the same, but calls for nobody
//     ranks_program idle SECONDS      rank 0 sleeps; the others wait for it, and say how long they ran
//     ranks_program speed BYTES       how long a scatter and a gather of a buffer take
//     ranks_program fail              rank 1 ends the job with code 5
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "device/communicator.h"
#include "device/cuda/collectives.h"
#include "device/cuda/handles.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

void require(bool right, const std::string& what) {
    if (right) return;
    std::fprintf(stderr, "wrong: %s\n", what.c_str());
    std::exit(1);
}

// The byte that `rank` has at a place.
std::byte value(int rank, std::size_t at, int round) {
    return static_cast<std::byte>(
        (at * 131 + static_cast<std::size_t>(rank) * 29 + static_cast<std::size_t>(round) * 7 + at / 251) &
        255);
}

std::vector<std::byte> values(int rank, std::size_t bytes, int round) {
    std::vector<std::byte> made(bytes);
    for (std::size_t i = 0; i < bytes; ++i) made[i] = value(rank, i, round);
    return made;
}

// Whether these bytes are the share of that rank's buffer.
bool holds(const std::byte* bytes, const Share& share, int rank, int round) {
    for (std::size_t i = 0; i < share.bytes; ++i)
        if (bytes[i] != value(rank, share.offset + i, round)) return false;
    return true;
}

void scatter_and_gather(Communicator& ranks, const Partition& exchange, std::size_t bytes, int round) {
    const int rank = ranks.place().rank;
    const Share own = exchange.share_of(rank);
    const std::vector<std::byte> before = values(rank, bytes, round);
    std::vector<std::byte> from = before, to(own.bytes * exchange.shares.size(), std::byte{0xee});
    ranks.scatter(from.data(), to.data(), exchange);
    require(from == before, "scatter changed what it sends");
    for (int p = 0; p < exchange.members.count; ++p)
        require(holds(to.data() + static_cast<std::size_t>(p) * own.bytes, own, exchange.members[p], round),
                "scatter of " + std::to_string(bytes) + " bytes: from place " + std::to_string(p));
    ranks.gather(from.data(), exchange);
    for (int p = 0; p < exchange.members.count; ++p) {
        const Share& theirs = exchange.shares[static_cast<std::size_t>(p)];
        require(holds(from.data() + theirs.offset, theirs, exchange.members[p], round),
                "gather of " + std::to_string(bytes) + " bytes: from place " + std::to_string(p));
    }
}

// Pairs of neighbours, of which the last rank may be left over; every second rank; all.
std::vector<Members> ways_to_part(const RankPlace& place) {
    const int pair = place.rank - place.rank % 2, odd = place.rank % 2;
    return {{.first = pair, .count = std::min(2, place.ranks - pair)},
            {.first = odd, .stride = 2, .count = (place.ranks - odd + 1) / 2},
            {.count = place.ranks}};
}

void exchange(Communicator& ranks) {
    const RankPlace place = ranks.place();
    require(place.rank >= 0 && place.rank < place.ranks, "rank");
    require(place.local_rank >= 0 && place.local_rank < place.local_ranks, "local rank");
    require(place.node >= 0 && place.node < place.nodes && !place.host.empty(), "node");
    if (place.nodes == 1)
        require(place.local_ranks == place.ranks && place.local_rank == place.rank, "local");

    for (const std::size_t bytes : {0, 1, 7, 4096, 1000003}) {
        std::vector<std::byte> all = values(place.rank, bytes, 1);
        ranks.broadcast(all);
        require(all == values(0, bytes, 1), "broadcast of " + std::to_string(bytes) + " bytes");
    }
    std::string text = place.rank == 0 ? std::string("from\0rank 0", 11) : "something longer than that";
    broadcast(ranks, text);
    require(text == std::string("from\0rank 0", 11), "broadcast of a text");
    const std::vector<std::string> texts =
        all_gather(ranks, std::string(static_cast<std::size_t>(place.rank * 5), 'x'));
    for (int r = 0; r < place.ranks; ++r)
        require(texts.at(static_cast<std::size_t>(r)) == std::string(static_cast<std::size_t>(r * 5), 'x'),
                "all_gather of texts");
    require(largest(ranks, -place.rank) == 0, "largest");
    require(largest(ranks, place.rank) == place.ranks - 1, "largest");

    int round = 0;
    for (const std::int64_t elements : {0, 1, 2, 3, 5, 127, 128, 129, 1000, 123457})
        for (const std::int64_t alignment : {1, 4, 128}) {
            std::vector<Share> shares = shares_of(elements, 2, place.ranks, alignment);
            std::size_t end = 0;
            for (const Share& share : shares) {
                require(share.bytes == 0 || share.offset == end, "shares are in order");
                require(share.offset % static_cast<std::size_t>(alignment * 2) == 0 || share.bytes == 0,
                        "shares are aligned");
                if (share.bytes > 0) end = share.offset + share.bytes;
            }
            require(end == static_cast<std::size_t>(elements) * 2, "shares cover all");
            for (const Members& members : ways_to_part(place)) {
                shares = shares_of(elements, 2, members.count, alignment);
                scatter_and_gather(ranks, {members, shares}, static_cast<std::size_t>(elements) * 2, ++round);
            }
        }
    // All of it is one rank's, whichever.
    for (int owner = 0; owner < place.ranks; ++owner) {
        std::vector<Share> shares(static_cast<std::size_t>(place.ranks));
        shares[static_cast<std::size_t>(owner)] = {3, 997};
        scatter_and_gather(ranks, among_all(shares), 1000, ++round);
    }
}

// A step that is launched three times: everyone gets the sum of what all have, and 1 for each level
// at which it is added up. Two levels: pairs of neighbours, then every second rank.
void exchange_in_graph(Communicator& ranks, bool two_levels) {
    using namespace emulated;
    const RankPlace& place = ranks.place();
    DeviceCommunicator devices(ranks);
    const std::size_t bytes = 1001;
    std::vector<Partition> levels;
    Share whole{0, bytes};
    const std::vector<Members> ways = ways_to_part(place);
    for (const Members& members :
         two_levels ? std::vector<Members>{ways[0], ways[1]} : std::vector<Members>{ways[2]}) {
        levels.push_back({members, shares_of(static_cast<std::int64_t>(whole.bytes), 1, members.count, 4)});
        for (Share& share : levels.back().shares) share.offset += whole.offset;
        whole = levels.back().share_of(place.rank);
    }
    void *buffer = nullptr, *parts = nullptr, *result = nullptr;
    check(cudaMalloc(&buffer, bytes), "cudaMalloc");
    check(cudaMalloc(&parts, 2 * bytes), "cudaMalloc");
    check(cudaHostAlloc(&result, bytes, cudaHostAllocMapped), "cudaHostAlloc");
    auto* const begin = static_cast<std::byte*>(buffer);
    auto* const received = static_cast<std::byte*>(parts);
    const StreamHandle stream = make_stream(0);
    check(cudaMemsetAsync(buffer, place.rank, bytes, stream.get()), "cudaMemsetAsync");
    const GraphExec graph = capture_graph(stream.get(), [&] {
        for (const Partition& level : levels) {
            devices.scatter(stream.get(), begin, received, level);
            const Share own = level.share_of(place.rank);
            const std::size_t members = level.shares.size();
            check(enqueue(
                      [begin, received, own, members] {
                          for (std::size_t i = 0; i < own.bytes; ++i) {
                              unsigned sum = 1;
                              for (std::size_t p = 0; p < members; ++p)
                                  sum += static_cast<unsigned>(received[p * own.bytes + i]);
                              begin[own.offset + i] = static_cast<std::byte>(sum);
                          }
                      },
                      {{received, own.bytes * members}}, {{begin + own.offset, own.bytes}}, stream.get()),
                  "enqueue");
        }
        for (auto level = levels.rbegin(); level != levels.rend(); ++level)
            devices.gather(stream.get(), begin, *level);
    });
    // Each pair adds a 1 of its own.
    const auto count = static_cast<unsigned>(place.ranks), ones = two_levels ? count / 2 + 1 : 1;
    unsigned expected = 0;
    for (int step = 0; step < 3; ++step) {
        check(cudaGraphLaunch(graph.get(), stream.get()), "cudaGraphLaunch");
        expected = (step == 0 ? count * (count - 1) / 2 : expected * count) + ones;
    }
    check(cudaMemcpyAsync(result, buffer, bytes, cudaMemcpyDeviceToHost, stream.get()), "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream.get()), "cudaStreamSynchronize");
    for (std::size_t i = 0; i < bytes; ++i)
        require(static_cast<std::byte*>(result)[i] == static_cast<std::byte>(expected), "a step's sum");
    check(cudaFree(buffer), "cudaFree");
    check(cudaFree(parts), "cudaFree");
    check(cudaFreeHost(result), "cudaFreeHost");
}

double processor_seconds() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

int run(const std::string& what, const std::string& number) {
    const std::unique_ptr<Communicator> ranks = join_ranks();
    if (what == "one") return ranks ? 1 : 0;
    require(ranks != nullptr, "a job");
    const RankPlace place = ranks->place();
    const auto duration = std::chrono::milliseconds(static_cast<int>(1000 * std::atof(number.c_str())));
    const auto begin = std::chrono::steady_clock::now();
    const auto goes_on = [&] { return std::chrono::steady_clock::now() - begin < duration; };
    if (what == "call" || what == "compute" || what == "fail") {
        std::printf("rank %d: %d\n", place.rank, getpid());
        std::fflush(stdout);
    }
    if (what == "exchange") exchange(*ranks);
    if (what == "emulated") exchange_in_graph(*ranks, false);
    if (what == "emulated" && place.ranks % 2 == 0) exchange_in_graph(*ranks, true);
    if (what == "groups") {
        const bool share = groups_share_machines(*ranks);
        if (place.rank == 0) std::puts(share ? "groups share machines" : "groups do not share machines");
    }
    if (what == "large") {
        const std::int64_t bytes = std::atoll(number.c_str());
        scatter_and_gather(*ranks, among_all(shares_of(bytes, 1, place.ranks, 1)),
                           static_cast<std::size_t>(bytes), 1);
    }
    if (what == "fail" && place.rank == 1) ranks->abort(5);
    if (what == "call" || what == "fail")
        while (largest(*ranks, goes_on()) != 0) continue;
    if (what == "compute")
        while (goes_on()) continue;
    if (what == "idle") {
        if (place.rank == 0) std::this_thread::sleep_for(duration);
        const double before = processor_seconds();
        largest(*ranks, 1);
        if (place.rank > 0) std::printf("waited: %.3f\n", processor_seconds() - before);
    }
    if (what == "speed") {  // of buffers like a step's gradients
        std::vector<std::byte> buffer(std::strtoull(number.c_str(), nullptr, 10)), parts(buffer.size() * 2);
        const Partition all =
            among_all(shares_of(static_cast<std::int64_t>(buffer.size()), 1, place.ranks, 128));
        for (int i = 0; i < 20; ++i) {
            ranks->scatter(buffer.data(), parts.data(), all);
            ranks->gather(buffer.data(), all);
        }
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        if (place.rank == 0) std::printf("%.2f ms each\n", took.count() * 50);
    }
    const std::string name = ranks->name();
    ranks->finish();
    if (place.rank == 0) std::printf("%s: %d ranks on %d hosts\n", name.c_str(), place.ranks, place.nodes);
    return 0;
}

}  // namespace

}  // namespace onecycle

int main(int argc, char** argv) {
    try {
        return onecycle::run(argc > 1 ? argv[1] : "exchange", argc > 2 ? argv[2] : "1");
    } catch (const onecycle::Error& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return error.exit_code();
    }
}
