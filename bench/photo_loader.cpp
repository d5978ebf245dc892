// How fast the loader is without any training, in images/s:
//
//     bench_photo_loader DATA CACHE SIZE THREADS        (CACHE: a folder, or off: in memory)
//
// Prints {"check": …, "first": …, "later": …}: of the check of all files, of the first epoch, and
// of the ones after it.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "core/file.h"
#include "data/image_cache.h"
#include "data/kept_images.h"
#include "data/loader.h"
#include "onecycle/error.h"

using namespace onecycle;

namespace {

// Images per second of work that returns how many it has done.
template <class Work>
double rate(Work work) {
    const auto start = std::chrono::steady_clock::now();
    const auto images = static_cast<double>(work());
    return images / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
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
    const double check = rate([&] {
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
    const double first = rate([&] { return batches(0, epoch); });
    const double later = rate([&] { return batches(epoch, 11 * epoch); });
    std::printf("{\"check\": %.2f, \"first\": %.2f, \"later\": %.2f}\n", check, first, later);
    return 0;
} catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code();
}
