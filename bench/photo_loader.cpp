// How fast the loader is without any training, in images/s:
//
//     bench_photo_loader DATA CACHE SIZE THREADS        (CACHE: a folder, or off: in memory)
//
// Prints {"check": …, "first": …, "later": …, "a_core": {"check": …, …}}: of the check of all
// files, of the first epoch, and of the ones after it; `a_core` by the processor's time of all
// threads, which other programs disturb less.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>

#include "core/file.h"
#include "data/image_cache.h"
#include "data/kept_images.h"
#include "data/loader.h"
#include "onecycle/error.h"

using namespace onecycle;

namespace {

// Images per second, and per second of a core.
struct Rate {
    double wall, core;
};

// Of work that returns how many images it has done.
template <class Work>
Rate rate(Work work) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t used = std::clock();
    const auto images = static_cast<double>(work());
    return {images / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
            images * CLOCKS_PER_SEC / static_cast<double>(std::clock() - used)};
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 5) {
        std::fprintf(stderr, "usage: bench_photo_loader DATA CACHE SIZE THREADS\n");
        return 2;
    }
    const std::string data = argv[1], folder = argv[2];
    const int size = std::atoi(argv[3]), threads = std::atoi(argv[4]);
    const bool in_memory = folder == "off";
    const auto file =
        in_memory ? nullptr : std::make_shared<ImageCache>(posix_file_system(), folder, data, argv[3]);
    DatasetOptions options{.threads = threads};
    if (file) options.checked_before = [file](Sample& sample) { return file->checked_before(sample); };
    Dataset dataset;
    const Rate check = rate([&] {
        dataset = open_dataset(data, options);
        return dataset.train.size() + dataset.valid.size();
    });
    const auto kept = std::make_shared<KeptImages>(KeptRule{.size = size},
                                                   in_memory ? std::size_t{8} << 30 : std::size_t{0}, file);
    Loader loader(dataset.train, {.size = size, .batch_size = 16, .threads = threads, .kept = kept});
    const std::int64_t epoch = loader.batches_per_epoch();
    const auto batches = [&](std::int64_t first, std::int64_t last) {
        std::int64_t images = 0;
        loader.start(first, last);
        while (const Loader::BatchPtr batch = loader.next()) images += batch->count;
        return images;
    };
    const Rate first = rate([&] { return batches(0, epoch); });
    const Rate later = rate([&] { return batches(epoch, 11 * epoch); });
    std::printf("{\"check\": %.2f, \"first\": %.2f, \"later\": %.2f, ", check.wall, first.wall, later.wall);
    std::printf("\"a_core\": {\"check\": %.2f, \"first\": %.2f, \"later\": %.2f}}\n", check.core, first.core,
                later.core);
    return 0;
} catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code();
}
