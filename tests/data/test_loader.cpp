#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "data/files.h"
#include "data/loader.h"
#include "onecycle/dataset.h"
#include "rules/sample_order.h"

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
        samples.push_back({.place = ImagePlace(path, name),
                           .label = static_cast<int>(samples.size() % 3),
                           .bytes = fs::file_size(path)});
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
            const Image view = evaluation_view(read_image(samples[next].path()), size, options.crop_pct);
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
        samples.push_back({.place = ImagePlace(path, path.filename()), .bytes = fs::file_size(path)});
    }
    fs::remove(samples[7].path());
    fs::resize_file(samples[10].path(), 100);
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

namespace {

// 30 images of their own contents, of which some fail later.
class FaultyFolder {
  public:
    FaultyFolder() {
        const std::vector<Sample> fixtures = fixture_samples();
        for (std::size_t k = 0; k < 30; ++k) {
            const fs::path from = fixtures[k % 12].path(),
                           path = folder_ / (std::to_string(k) + from.extension().string());
            fs::copy_file(from, path);
            samples.push_back({.place = ImagePlace(path, path.filename()),
                               .label = static_cast<int>(k % 3),
                               .bytes = fs::file_size(path)});
            samples.back().content = content_hash(bytes_of(path));
        }
    }

    // Each in a way of its own.
    void harm() {
        fs::remove(samples[3].path());
        fs::resize_file(samples[7].path(), 60);
        std::vector<std::uint8_t> bytes = bytes_of(samples[11].path());
        bytes.back() ^= 1;  // as large as it was
        write(samples[11].path(), bytes);
        fs::remove(samples[20].path());
        fs::create_directory(samples[20].path());
    }
    static constexpr std::int64_t harmed[] = {3, 7, 11, 20};

    std::vector<Sample> samples;

  private:
    TemporaryFolder folder_;
};

}  // namespace

TEST(Loader, the_next_of_the_epochs_order_takes_the_place_of_an_image_that_fails_for_any_threads_and_cache) {
    const std::set<std::int64_t> harmed(std::begin(FaultyFolder::harmed), std::end(FaultyFolder::harmed));
    LoaderOptions options = small_options();
    std::vector<Copy> expected;
    std::vector<ImageFault> expected_faults;
    for (const int threads : {0, 1, 5})
        for (const std::size_t cache : {std::size_t{0}, std::size_t{20000}, std::size_t{1} << 30}) {
            FaultyFolder folder;
            options.threads = threads;
            options.cache_bytes = cache;
            std::vector<std::string> lines;
            options.faults = std::make_shared<ImageFaults>(
                ImageFaults::Rules{.log = [&](LogLevel, const std::string& line) { lines.push_back(line); }});
            Loader loader(folder.samples, options);
            const std::int64_t epoch = loader.batches_per_epoch();
            std::vector<Copy> batches = all(loader, 0, epoch);  // what fits is kept
            EXPECT_TRUE(options.faults->before(epoch).empty());
            folder.harm();
            for (const Copy& batch : all(loader, epoch, 4 * epoch)) batches.push_back(batch);
            std::vector<ImageFault> faults = options.faults->before(4 * epoch);
            for (ImageFault& fault : faults) fault.path.clear();
            if (expected.empty()) {
                expected = batches;
                expected_faults = faults;
                continue;
            }
            EXPECT_EQ(batches, expected) << threads << " " << cache;
            EXPECT_EQ(faults, expected_faults) << threads << " " << cache;
            EXPECT_EQ(lines.size(), harmed.size()) << "each is named once";
        }
    // Against the rule itself.
    const SampleOrder order{.seed = options.seed,
                            .purpose = options.order,
                            .samples = 30,
                            .batch = options.batch_size,
                            .batches_per_update = 1};
    ASSERT_EQ(expected_faults.size(), harmed.size());
    for (const ImageFault& fault : expected_faults) {
        EXPECT_TRUE(harmed.count(fault.sample));
        EXPECT_GE(fault.from, order.batches_per_epoch());
    }
    for (const Copy& batch : expected)
        for (int position = 0; position < options.batch_size; ++position) {
            std::int64_t turn = 0;
            if (batch.epoch > 0)
                while (harmed.count(order.sample_at(batch.step, position, turn))) ++turn;
            EXPECT_EQ(batch.ids[static_cast<std::size_t>(position)],
                      order.sample_at(batch.step, position, turn));
        }
}

// Each rank of two needs the samples of its own share alone, whichever threads make the batches.
TEST(Loader, with_shares_a_rank_draws_from_its_own_and_replaces_from_it) {
    LoaderOptions options = small_options();
    options.batch_size = 3;
    options.batches_per_update = 4;
    options.shares = 2;
    const auto batches_of = [&](int rank, int ranks, int threads) {
        FaultyFolder folder;
        folder.harm();
        LoaderOptions own = options;
        own.rank = rank, own.ranks = ranks, own.threads = threads;
        own.faults = std::make_shared<ImageFaults>(ImageFaults::Rules{});
        Loader loader(folder.samples, own);
        return all(loader, 0, 2 * loader.batches_per_epoch());
    };
    const std::vector<Copy> whole = batches_of(0, 1, 3);
    std::vector<std::set<std::int64_t>> drawn(2);
    for (int rank = 0; rank < 2; ++rank) {
        const std::vector<Copy> own = batches_of(rank, 2, rank * 2);
        ASSERT_EQ(2 * own.size(), whole.size());
        for (std::size_t k = 0; k < own.size(); ++k) {
            EXPECT_EQ(own[k], whole[2 * k + static_cast<std::size_t>(rank)]);
            drawn[static_cast<std::size_t>(rank)].insert(own[k].ids.begin(), own[k].ids.end());
        }
    }
    for (const std::int64_t id : drawn[0]) EXPECT_FALSE(drawn[1].count(id));
    EXPECT_GT(drawn[0].size() + drawn[1].size(), 20u);
}

TEST(Loader, a_record_of_images_that_failed_gives_the_same_batches_though_they_are_back) {
    LoaderOptions options = small_options();
    FaultyFolder folder;
    folder.harm();
    options.faults = std::make_shared<ImageFaults>(ImageFaults::Rules{});
    Loader loader(folder.samples, options);
    const std::int64_t epoch = loader.batches_per_epoch();
    const std::vector<Copy> whole = all(loader, 0, 3 * epoch);

    FaultyFolder healthy;
    const std::vector<ImageFault> record = options.faults->before(epoch + 2);
    options.faults = std::make_shared<ImageFaults>(ImageFaults::Rules{});
    options.faults->restore(record);
    Loader other(healthy.samples, options);
    EXPECT_EQ(all(other, epoch + 2, 3 * epoch), std::vector<Copy>(whole.begin() + epoch + 2, whole.end()));
}

TEST(Loader, a_damaged_image_is_used_and_named_once) {
    if (!jpeg_decoder().starts_with("libjpeg-turbo")) GTEST_SKIP() << "stb_image does not tell";
    LoaderOptions options = small_options();
    FaultyFolder folder;
    const std::vector<std::uint8_t> damaged = bytes_of(images() / "hole_progressive.jpg");
    Sample& sample = folder.samples[3];
    write(sample.path(), damaged);
    sample.bytes = damaged.size();
    sample.content = content_hash(damaged);
    options.cache_bytes = 0;
    for (const int threads : {0, 4}) {
        options.threads = threads;
        std::vector<std::string> lines;
        options.faults = std::make_shared<ImageFaults>(
            ImageFaults::Rules{.log = [&](LogLevel, const std::string& line) { lines.push_back(line); }});
        Loader loader(folder.samples, options);
        all(loader, 0, 3 * loader.batches_per_epoch());
        ASSERT_EQ(lines.size(), 1u);
        EXPECT_NE(lines[0].find(sample.path()), std::string::npos);
        EXPECT_NE(lines[0].find("damaged"), std::string::npos);
        EXPECT_TRUE(options.faults->before(1000).empty()) << "it is not left out";
    }
}

TEST(Loader, an_evaluation_is_over_the_images_that_can_be_read) {
    LoaderOptions options = small_options();
    options.training = false;
    options.batch_size = 4;
    for (const int threads : {0, 4}) {
        FaultyFolder folder;
        options.threads = threads;
        options.faults = std::make_shared<ImageFaults>(ImageFaults::Rules{});
        Loader loader(folder.samples, options);
        const std::vector<Copy> before = all(loader, 0, loader.batches_per_epoch());
        folder.harm();
        for (int k = 12; k < 16; ++k)
            fs::remove(folder.samples[static_cast<std::size_t>(k)].path());  // a batch
        std::vector<std::int64_t> ids;
        for (const Copy& batch : all(loader, 0, loader.batches_per_epoch()))
            for (std::size_t k = 0; k < batch.ids.size(); ++k) {
                const std::int64_t id = batch.ids[k];
                ids.push_back(id);
                const Copy& whole = before[static_cast<std::size_t>(id / 4)];
                EXPECT_EQ(batch.labels[k], whole.labels[static_cast<std::size_t>(id % 4)]);
                constexpr std::ptrdiff_t pixels = size * size * 3;
                EXPECT_TRUE(std::equal(batch.pixels.begin() + static_cast<std::ptrdiff_t>(k) * pixels,
                                       batch.pixels.begin() + static_cast<std::ptrdiff_t>(k + 1) * pixels,
                                       whole.pixels.begin() + id % 4 * pixels));
            }
        EXPECT_EQ(ids, (std::vector<std::int64_t>{0,  1,  2,  4,  5,  6,  8,  9,  10, 16, 17,
                                                  18, 19, 21, 22, 23, 24, 25, 26, 27, 28, 29}));
        EXPECT_EQ(options.faults->before(0).size(), 8u);
    }
}

TEST(Loader, where_none_may_fail_or_too_many_do_that_is_an_error_with_its_way_out) {
    LoaderOptions options = small_options();
    const auto option_of = [&](ImageFaults::Rules rules) -> std::string {
        FaultyFolder folder;
        folder.harm();
        options.faults = std::make_shared<ImageFaults>(rules);
        Loader loader(folder.samples, options);
        try {
            all(loader, 0, loader.batches_per_epoch());
        } catch (const UnusableImage& image) {
            EXPECT_EQ(image.exit_code(), 3);
            return image.option();
        }
        return "none";
    };
    EXPECT_EQ(option_of({.bad_images = BadImages::fail}), "--bad-images skip");
    EXPECT_EQ(option_of({.max_bad = 0.1, .images = 30}), "--bad-images skip --max-bad 1");
    EXPECT_EQ(option_of({.max_bad = 0.1, .images = 40}), "none") << "a tenth may fail";
    EXPECT_EQ(option_of({.max_bad = 0.1, .images = 40, .left_out = 1}), "--bad-images skip --max-bad 1");

    FaultyFolder folder;
    for (const Sample& sample : folder.samples) fs::remove(sample.path());
    options.faults = std::make_shared<ImageFaults>(ImageFaults::Rules{});
    Loader loader(folder.samples, options);
    EXPECT_THROW(all(loader, 0, 1), UnusableImage) << "none is left to take a place";
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
