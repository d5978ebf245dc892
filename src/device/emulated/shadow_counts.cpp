// Makes requests of warps out of the accesses of lanes.
//
// Lanes run one after the other here, so nothing says which accesses a GPU would have made at once.
// The rule: between two points where all lanes of a warp meet (a barrier of the block, an exchange
// of the whole warp), the n-th access that a lane makes at an instruction belongs to the same
// request as the n-th of every other lane. It errs where lanes skip rounds of a loop: those that
// come after are then paired with accesses of other rounds.
#include "device/emulated/shadow_counts.h"

#include <algorithm>
#include <array>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "device/emulated/block.h"
#include "device/kernel_counts.h"

namespace onecycle::emulated::counts {

namespace {

constexpr std::size_t lanes_of_warp = 32, sector = 32, word = 4, banks = 32;

struct LaneAccess {
    std::uintptr_t at;
    std::size_t bytes, lane;
};

struct Request {
    shadow::Access how;
    bool in_shared;
    std::size_t lanes = 0;
    std::array<LaneAccess, lanes_of_warp> of{};  // in the order in which they ran
};

// An instruction of a warp since its lanes last met.
struct Instruction {
    std::vector<Request> requests;
    std::array<std::uint32_t, lanes_of_warp> made{};  // by each lane
};

struct Warp {
    std::uint32_t epoch = 0;  // of its block
    std::unordered_map<const void*, Instruction> instructions;
};

std::unordered_map<std::uint64_t, Warp> warps;  // of the blocks that are alive
std::vector<LaunchCounts> launches;             // the last one still runs

void count_global(LaunchCounts& counts, std::span<LaneAccess> lanes) {
    std::ranges::sort(lanes, {}, &LaneAccess::at);
    std::uintptr_t end = 0, next_sector = 0;  // what lies below was counted
    std::uint64_t bytes = 0;
    for (const LaneAccess& lane : lanes) {
        const std::uintptr_t lane_end = lane.at + lane.bytes, last_sector = (lane_end - 1) / sector;
        if (lane_end > end) bytes += lane_end - std::max(lane.at, end);
        end = std::max(end, lane_end);
        const std::uintptr_t first_sector = std::max(lane.at / sector, next_sector);
        if (last_sector >= first_sector) counts.sectors += last_sector - first_sector + 1;
        next_sector = std::max(next_sector, last_sector + 1);
    }
    ++counts.requests;
    counts.bytes += bytes;
    counts.fewest_sectors += (bytes + sector - 1) / sector;
}

// How often the fullest bank must be asked. An atomic takes a pass for each lane, also of one word.
std::uint64_t passes(std::vector<std::uintptr_t>& words, shadow::Access how) {
    std::ranges::sort(words);
    if (how != shadow::Access::atomic) words.erase(std::ranges::unique(words).begin(), words.end());
    std::array<std::uint64_t, banks> asked{};
    for (const std::uintptr_t w : words) ++asked[w % banks];
    return *std::ranges::max_element(asked);
}

// Lanes that ask for 8 bytes are served by halves of the warp, for 16 by quarters; for more (an
// aggregate that is copied) 16 bytes at a time.
void count_shared(LaunchCounts& counts, const Request& request) {
    constexpr std::size_t most_at_once = 16;
    static std::vector<std::uintptr_t> words;
    std::size_t widest = 0;
    for (std::size_t i = 0; i < request.lanes; ++i) widest = std::max(widest, request.of[i].bytes);
    const std::size_t together =
        lanes_of_warp / (std::clamp(widest, word, most_at_once) / word);  // lanes of a pass
    for (std::size_t part = 0; part < widest; part += most_at_once)
        for (std::size_t group = 0; group < lanes_of_warp / together; ++group) {
            words.clear();
            for (std::size_t i = 0; i < request.lanes; ++i) {
                const auto [at, bytes, lane] = request.of[i];
                if (lane / together != group || part >= bytes) continue;
                const std::uintptr_t begin = at + part, end = at + std::min(part + most_at_once, bytes);
                for (std::uintptr_t w = begin / word; w * word < end; ++w) words.push_back(w);
            }
            if (!words.empty()) counts.bank_conflicts += passes(words, request.how) - 1;
        }
    ++counts.shared_requests;
}

void finish(Warp& warp) {
    LaunchCounts& counts = launches.back();
    for (auto& [from, instruction] : warp.instructions) {
        for (Request& request : instruction.requests)
            if (request.in_shared)
                count_shared(counts, request);
            else
                count_global(counts, std::span(request.of).first(request.lanes));
        instruction.requests.clear();
        instruction.made.fill(0);
    }
}

std::uint64_t key_of(const ThreadState& t) {
    return std::uint64_t{t.block->number} * lanes_of_warp + static_cast<std::uint64_t>(t.warp);
}

}  // namespace

void launch_begins(const Grid& grid) {
    blocks_ended();
    const dim3 &g = grid.grid, &b = grid.block;
    launches.push_back({.kernel = grid.name,
                        .blocks = std::int64_t{g.x} * g.y * g.z,
                        .threads = static_cast<int>(b.x * b.y * b.z)});
}

void blocks_ended() {
    for (auto& [key, warp] : warps) finish(warp);
    warps.clear();
}

void warp_met(const ThreadState& thread) {
    if (const auto at = warps.find(key_of(thread)); at != warps.end()) finish(at->second);
}

void access(const ThreadState& thread, std::uintptr_t at, std::size_t bytes, shadow::Access how,
            bool in_shared, const void* from) {
    Warp& warp = warps[key_of(thread)];
    if (warp.epoch != thread.block->epoch) {
        finish(warp);
        warp.epoch = thread.block->epoch;
    }
    Instruction& instruction = warp.instructions[from];
    const auto lane = static_cast<std::size_t>(thread.lane);
    const std::uint32_t n = instruction.made[lane]++;
    if (n == instruction.requests.size()) instruction.requests.push_back({how, in_shared});
    Request& request = instruction.requests[n];
    request.of[request.lanes++] = {at, bytes, lane};
}

}  // namespace onecycle::emulated::counts

namespace onecycle {

using namespace emulated::counts;

bool LaunchCounter::possible() {
    return true;
}

LaunchCounter::LaunchCounter() {
    on = true;
}

LaunchCounter::~LaunchCounter() {
    take();
    on = false;
}

std::vector<LaunchCounts> LaunchCounter::take() {
    blocks_ended();
    return std::exchange(launches, {});
}

}  // namespace onecycle
