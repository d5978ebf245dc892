// How long a start looks for its images, and what their list takes:
//
//     bench_open_dataset DATA THREADS [CACHE]
//
// Prints {"images": …, "seconds": …, "bytes_per_image": …}: the bytes are what the process' largest
// size in memory grew by.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "onecycle/dataset.h"
#include "onecycle/error.h"

using namespace onecycle;

namespace {

double largest_bytes() {
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 3 || argc > 4) {
        std::fprintf(stderr, "usage: bench_open_dataset DATA THREADS [CACHE]\n");
        return 2;
    }
    DatasetOptions options{.threads = std::atoi(argv[2])};
    if (argc == 4) options.index_folder = argv[3];
    const double before = largest_bytes();
    const auto start = std::chrono::steady_clock::now();
    const Dataset dataset = open_dataset(argv[1], options);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const auto images = static_cast<double>(dataset.train.size() + dataset.valid.size());
    std::printf("{\"images\": %.0f, \"seconds\": %.2f, \"bytes_per_image\": %.0f}\n", images, seconds,
                (largest_bytes() - before) / images);
    return 0;
} catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code();
}
