// Gives mutated files to a target of scripts/fuzz, as fast as it takes them: without the sanitizers and
// what libFuzzer learns, so that a hundred million are a matter of hours.
//
//     mutate_NAME COUNT [FIRST]    the inputs FIRST (0) to FIRST + COUNT - 1: each is a function of its number
//     mutate_NAME --write NUMBER   writes that one to stdout: for a regression test
//
// A fault, or an input that takes ten seconds of a processor, ends it by a signal, after its number was
// written.
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

std::atomic<std::uint64_t> now{0};  // the number of the input
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

extern "C" void tell(int signal) {
    char text[64] = "input ";
    char* end = text + 6;
    char digits[20];
    int count = 0;
    for (std::uint64_t rest = now; count == 0 || rest > 0; rest /= 10)
        digits[count++] = static_cast<char>('0' + rest % 10);
    while (count > 0) *end++ = digits[--count];
    *end++ = '\n';
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, static_cast<std::size_t>(end - text));
    ::signal(signal, SIG_DFL);
    ::raise(signal);
}

std::vector<Bytes> seeds_in(const std::vector<std::filesystem::path>& folders) {
    std::vector<std::filesystem::path> paths;
    for (const auto& folder : folders)
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            const std::string name = entry.path().filename().string();
            // NAME.jpg.ppm is what NAME.jpg holds.
            const bool pixels =
                name.ends_with(".ppm") && !name.starts_with("raw") && !name.starts_with("white");
            if (entry.is_regular_file() && !pixels && !name.ends_with(".txt") && !name.ends_with(".json"))
                paths.push_back(entry.path());
        }
    std::ranges::sort(paths);
    std::vector<Bytes> seeds;
    for (const auto& path : paths) {
        std::ifstream in(path, std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
        // The rest of a large file costs time that small ones make better use of.
        seeds.back().resize(std::min<std::size_t>(seeds.back().size(), 20'000));
    }
    return seeds;
}

// One to six changes, most of them near the beginning, where the headers stand.
void mutate(Bytes& bytes, const std::vector<Bytes>& seeds, std::uint64_t number) {
    auto random = [state = number * 0xD1342543DE82EF95]() mutable {  // SplitMix64: begun in no time
        std::uint64_t z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    };
    const auto below = [&](std::size_t limit) {
        return static_cast<std::size_t>(random() % std::max<std::size_t>(limit, 1));
    };
    bytes = seeds[below(seeds.size())];
    for (std::size_t changes = 1 + below(6); changes > 0 && !bytes.empty(); --changes) {
        const std::size_t at = below(below(2) ? bytes.size() : std::min<std::size_t>(bytes.size(), 256));
        switch (below(8)) {
            case 0:
            case 1:
                bytes[at] ^= static_cast<std::uint8_t>(1u << below(8));
                break;
            case 2:
                bytes[at] = static_cast<std::uint8_t>(random());
                break;
            case 3: {  // a number of 16 or 32 bits, in either order, at the edge of what it can be
                constexpr std::uint32_t edges[] = {0,      1,          0x7F,       0xFF,      0x7FFF,
                                                   0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000};
                std::uint32_t edge = edges[below(std::size(edges))];
                if (below(2)) edge = __builtin_bswap32(edge);
                const std::size_t width = std::min(bytes.size() - at, std::size_t{2} + 2 * below(2));
                std::memcpy(&bytes[at], &edge, width);
                break;
            }
            case 4:
                bytes.resize(at);
                break;
            case 5: {  // a piece is left out
                const std::size_t end = std::min(bytes.size(), at + 1 + below(32));
                bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                            bytes.begin() + static_cast<std::ptrdiff_t>(end));
                break;
            }
            case 6: {  // a piece comes twice
                const std::size_t end = std::min(bytes.size(), at + 1 + below(64));
                const Bytes piece(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                  bytes.begin() + static_cast<std::ptrdiff_t>(end));
                bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), piece.begin(), piece.end());
                break;
            }
            default: {  // another file from here on
                const Bytes& other = seeds[below(seeds.size())];
                const std::size_t from = std::min(at, other.size());
                bytes.resize(at);
                bytes.insert(bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
            }
        }
    }
}

}  // namespace

int main(int count_of_words, char** words) {
    const std::vector<Bytes> seeds = seeds_in({ONECYCLE_TEST_DATA, ONECYCLE_TEST_DATA "/images"});
    const bool write = count_of_words == 3 && std::string(words[1]) == "--write";
    if (count_of_words < 2 || seeds.empty()) return 2;
    Bytes bytes;
    if (write) {
        mutate(bytes, seeds, std::strtoull(words[2], nullptr, 10));
        return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() ? 0 : 5;
    }
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGPROF}) ::signal(signal, tell);
    const std::uint64_t count = std::strtoull(words[1], nullptr, 10);
    const std::uint64_t first = count_of_words > 2 ? std::strtoull(words[2], nullptr, 10) : 0;
    const auto begun = std::chrono::steady_clock::now();
    for (std::uint64_t number = first; number < first + count; ++number) {
        now = number;
        if (number % 256 == 0) {  // processor time: other programs may hold this one up for longer
            constexpr itimerval patience{.it_interval = {}, .it_value = {.tv_sec = 10, .tv_usec = 0}};
            ::setitimer(ITIMER_PROF, &patience, nullptr);
        }
        mutate(bytes, seeds, number);
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    std::printf("%llu inputs of %zu files, %.1f s\n", static_cast<unsigned long long>(count), seeds.size(),
                seconds);
    return 0;
}
