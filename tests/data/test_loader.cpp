#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "data/files.h"
#include "onecycle/dataset.h"
#include "onecycle/loader.h"

using namespace onecycle;
using namespace onecycle::test;

namespace {

constexpr int size = 24;

// 41 samples: each fixture that decodes, three labels.
std::vector<Sample> fixture_samples() {
    std::vector<Sample> samples;
    for (const char* name :
         {"rgb_420.jpg", "grey.jpg", "cmyk.jpg", "orientation_6.jpg", "progressive.jpg", "rgba.png",
          "one_pixel.png", "portrait.png", "thin.png", "source.png", "rgb_565.bmp", "palette.bmp"}) {
        const fs::path path = images() / name;
        samples.push_back({path, name, static_cast<int>(samples.size() % 3), fs::file_size(path)});
    }
    while (samples.size() < 41) samples.push_back(samples[samples.size() - 12]);
    return samples;
}

LoaderOptions small_options() {
    LoaderOptions options;
    options.size = size;
    options.batch_size = 6;
    options.augment = AugmentPolicy::strong;
    options.seed = 5;
    return options;
}

struct Copy {
    std::int64_t step;
    std::uint32_t epoch;
    std::vector<std::uint8_t> pixels;
    std::vector<std::int32_t> labels;
    std::vector<std::int64_t> ids;
    bool operator==(const Copy&) const = default;
};

Copy copy_of(const Batch& batch) {
    const auto n = batch.count;
    return {batch.step,
            batch.epoch,
            {batch.pixels.begin(), batch.pixels.begin() + n * size * size * 3},
            {batch.labels.begin(), batch.labels.begin() + n},
            {batch.sample_ids.begin(), batch.sample_ids.begin() + n}};
}

std::vector<Copy> all(Loader& loader, std::int64_t first, std::int64_t last) {
    loader.start(first, last);
    std::vector<Copy> batches;
    while (const Loader::BatchPtr batch = loader.next()) batches.push_back(copy_of(*batch));
    return batches;
}

std::vector<Copy> all(const LoaderOptions& options, std::int64_t first, std::int64_t last) {
    Loader loader(fixture_samples(), options);
    return all(loader, first, last);
}

}  // namespace

TEST(Loader, batches_are_equal_for_any_threads_queue_and_cache) {
    for (const AugmentPolicy policy :
         {AugmentPolicy::none, AugmentPolicy::flip, AugmentPolicy::standard, AugmentPolicy::strong}) {
        LoaderOptions options = small_options();
        options.augment = policy;
        options.threads = 0;
        options.cache_bytes = 0;
        const std::vector<Copy> expected = all(options, 0, 20);  // three epochs and a bit
        ASSERT_EQ(expected.size(), 20u);
        for (const int threads : {1, 4, 16})
            for (const std::size_t cache : {std::size_t{0}, std::size_t{20000}, std::size_t{1} << 30}) {
                options.threads = threads;
                options.cache_bytes = cache;
                options.queue_bytes = threads == 4 ? 1 : std::size_t{1} << 20;
                EXPECT_EQ(all(options, 0, 20), expected)
                    << to_string(policy) << " " << threads << " " << cache;
            }
    }
}

TEST(Loader, starts_at_any_step_and_again) {
    const std::vector<Copy> whole = all(small_options(), 0, 20);
    Loader loader(fixture_samples(), small_options());
    for (const std::int64_t first : {13, 0, 7, 19}) {
        const std::vector<Copy> part = all(loader, first, 20);
        EXPECT_EQ(part, std::vector<Copy>(whole.begin() + first, whole.end()));
    }
    EXPECT_TRUE(all(loader, 20, 20).empty());
}

TEST(Loader, an_epoch_holds_each_sample_at_most_once_in_an_order_of_its_own) {
    const std::vector<Copy> batches = all(small_options(), 0, 12);  // 41 samples: 6 batches of 6, 5 dropped
    std::map<std::uint32_t, std::vector<std::int64_t>> epochs;
    for (const Copy& batch : batches) {
        EXPECT_EQ(batch.ids.size(), 6u);
        EXPECT_EQ(batch.epoch, batch.step / 6);
        epochs[batch.epoch].insert(epochs[batch.epoch].end(), batch.ids.begin(), batch.ids.end());
    }
    ASSERT_EQ(epochs.size(), 2u);
    EXPECT_NE(epochs[0], epochs[1]);
    for (const auto& [epoch, ids] : epochs)
        EXPECT_EQ(std::set<std::int64_t>(ids.begin(), ids.end()).size(), 36u);
    LoaderOptions other = small_options();
    other.order = RandomPurpose::range_test;
    EXPECT_NE(all(other, 0, 1)[0].ids, batches[0].ids);
    const std::vector<Sample> samples = fixture_samples();
    for (std::size_t k = 0; k < 6; ++k)
        EXPECT_EQ(batches[0].labels[k], samples[static_cast<std::size_t>(batches[0].ids[k])].label);
}

TEST(Loader, evaluation_drops_nothing_and_keeps_the_order) {
    LoaderOptions options = small_options();
    options.training = false;
    const std::vector<Sample> samples = fixture_samples();
    Loader loader(samples, options);
    EXPECT_EQ(loader.batches_per_epoch(), 7);
    std::size_t next = 0;
    for (const Copy& batch : all(loader, 0, loader.batches_per_epoch()))
        for (std::size_t k = 0; k < batch.ids.size(); ++k, ++next) {
            ASSERT_EQ(batch.ids[k], static_cast<std::int64_t>(next));
            const Image view = evaluation_view(read_image(samples[next].path), size, options.crop_pct);
            ASSERT_TRUE(std::equal(view.rgb.begin(), view.rgb.end(),
                                   batch.pixels.begin() + static_cast<std::ptrdiff_t>(k * size * size * 3)));
        }
    EXPECT_EQ(next, 41u);
}

TEST(Loader, the_only_part_batch_of_training_is_kept) {
    LoaderOptions options = small_options();
    options.batch_size = 64;
    const std::vector<Copy> batches = all(options, 0, 2);
    ASSERT_EQ(batches.size(), 2u);
    EXPECT_EQ(batches[0].ids.size(), 41u);
    EXPECT_EQ(batches[1].epoch, 1u);
}

TEST(Loader, a_file_that_changed_or_vanished_is_named_at_its_batch) {
    TemporaryFolder folder;
    std::vector<Sample> samples;
    for (int k = 0; k < 12; ++k) {
        const fs::path path = folder / ("image" + std::to_string(k) + ".png");
        fs::copy_file(images() / "rgb.png", path);
        samples.push_back({path, path.filename(), 0, fs::file_size(path)});
    }
    fs::remove(samples[7].path);
    fs::resize_file(samples[10].path, 100);
    LoaderOptions options = small_options();
    options.training = false;
    options.batch_size = 3;
    for (const int threads : {0, 4}) {
        options.threads = threads;
        Loader loader(samples, options);
        loader.start(0, 4);
        for (int step = 0; step < 2; ++step) EXPECT_EQ(loader.next()->step, step);
        for (const char* name : {"image7.png", "image10.png"}) try {
                loader.next();
                FAIL() << name;
            } catch (const Error& error) {
                EXPECT_EQ(error.kind(), ErrorKind::data);
                EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
            }
    }
}

TEST(Loader, can_be_stopped_at_any_point) {
    LoaderOptions options = small_options();
    options.threads = 4;
    for (int round = 0; round < 60; ++round) {
        Loader loader(fixture_samples(), options);
        loader.start(0, 1000);
        for (int k = 0; k < round % 7; ++k) {
            const Loader::BatchPtr batch = loader.next();
            if (round % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
            ASSERT_EQ(batch->step, k);
        }
        if (round % 2 == 0) loader.stop();
    }
}

TEST(Loader, buffers_are_recycled) {
    LoaderOptions options = small_options();
    options.queue_bytes = 1;  // two buffers
    Loader loader(fixture_samples(), options);
    loader.start(0, 200);
    std::set<const std::uint8_t*> buffers;
    while (const Loader::BatchPtr batch = loader.next()) buffers.insert(batch->pixels.data());
    EXPECT_EQ(buffers.size(), 2u);
}

TEST(Loader, options_out_of_range_are_refused) {
    LoaderOptions options = small_options();
    EXPECT_THROW(Loader({}, options), Error);
    options.batch_size = 0;
    EXPECT_THROW(Loader(fixture_samples(), options), Error);
    options = small_options();
    options.crop_pct = 1.5;
    EXPECT_THROW(Loader(fixture_samples(), options), Error);
}
