// How fast the loader is without any training, in images/s of its whole epochs:
//
//     bench_photo_loader DATA CACHE SIZE THREADS        (CACHE: a folder, or off)
//
// Prints {"first": …, "later": …}: of an epoch that finds what CACHE holds, and of the ones after it.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "onecycle/error.h"
#include "onecycle/loader.h"
#include "train/image_store.h"

using namespace onecycle;

int main(int argc, char** argv) try {
    if (argc != 5) {
        std::fprintf(stderr, "usage: bench_photo_loader DATA CACHE SIZE THREADS\n");
        return 2;
    }
    const TrainOptions options = {
        .data = argv[1], .size = std::atoi(argv[3]), .threads = std::atoi(argv[4]), .cache = argv[2]};
    const Dataset dataset = open_dataset(options.data, dataset_options(options));
    const bool off = options.cache == "off";
    const auto kept =
        std::make_shared<KeptImages>(training_rule(options, options.size), off ? std::size_t{4} << 30 : 0,
                                     off ? nullptr : look_into_cache(options));
    Loader loader(dataset.train,
                  {.size = options.size, .batch_size = 16, .threads = options.threads, .kept = kept});
    const auto rate_of = [&](std::int64_t first, std::int64_t epochs) {
        const auto start = std::chrono::steady_clock::now();
        std::int64_t images = 0;
        loader.start(first * loader.batches_per_epoch(), (first + epochs) * loader.batches_per_epoch());
        while (const Loader::BatchPtr batch = loader.next()) images += batch->count;
        return static_cast<double>(images) /
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    const double first = rate_of(0, 1), later = rate_of(1, 8);
    std::printf("{\"first\": %.2f, \"later\": %.2f}\n", first, later);
    return 0;
} catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code();
}
