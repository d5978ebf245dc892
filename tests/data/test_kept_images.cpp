// The kept images are the same pixels wherever they are kept, and made once.
#include "data/kept_images.h"

#include <gtest/gtest.h>

#include "core/file.h"
#include "data/files.h"
#include "data/image_cache.h"
#include "data/loader.h"

using namespace onecycle;
using namespace onecycle::test;

namespace {

Sample sample_of(const fs::path& path) {
    Sample sample{.place = ImagePlace(path, path.filename()), .bytes = fs::file_size(path)};
    const Image image = read_image(path);
    sample.width = image.width, sample.height = image.height;
    sample.changed = image_file_status(path).changed;
    return sample;
}

std::vector<Sample> fixture_samples() {
    std::vector<Sample> samples;
    for (const char* name : {"rgb_420.jpg", "orientation_6.jpg", "progressive.jpg", "one_pixel.png",
                             "portrait.png", "thin.png", "source.png", "palette.bmp"})
        samples.push_back(sample_of(images() / name));
    return samples;
}

// Of a training of 20 steps, six images each.
std::vector<std::vector<std::uint8_t>> batches(const std::vector<Sample>& samples, LoaderOptions options) {
    options.size = 20;
    options.batch_size = 6;
    Loader loader(samples, options);
    loader.start(0, 20);
    std::vector<std::vector<std::uint8_t>> all;
    while (const Loader::BatchPtr batch = loader.next()) all.push_back(batch->pixels);
    return all;
}

}  // namespace

TEST(KeptImages, give_a_loader_the_same_batches_from_memory_file_or_neither_for_any_threads) {
    const std::vector<Sample> samples = fixture_samples();
    for (const AugmentPolicy policy : {AugmentPolicy::flip, AugmentPolicy::strong}) {
        const KeptRule rule{.size = 20, .augment = policy};
        const auto expected = batches(samples, {.augment = policy, .threads = 0, .cache_bytes = 0});
        const TemporaryFolder folder;
        for (const int threads : {0, 1, 5})
            for (const std::size_t memory : {std::size_t{0}, std::size_t{3000}, std::size_t{1} << 30})
                for (const bool file : {false, true}) {
                    const auto cache =
                        file ? std::make_shared<ImageCache>(posix_file_system(), folder.path(), "d", "")
                             : nullptr;
                    const auto kept = std::make_shared<KeptImages>(rule, memory, cache);
                    EXPECT_EQ(batches(samples, {.augment = policy, .threads = threads, .kept = kept}),
                              expected)
                        << to_string(policy) << " " << threads << " " << memory << " " << file;
                }
    }
}

TEST(KeptImages, are_made_once_where_they_fit_and_each_time_where_nothing_is_kept) {
    const std::vector<Sample> samples = fixture_samples();
    const auto passes = [&](KeptImages& kept) {
        for (int pass = 0; pass < 3; ++pass)
            for (std::size_t k = 0; k < samples.size(); ++k) kept.get(k, samples[k]);
        return kept.made();
    };
    KeptImages nowhere({.size = 20}, 0), memory({.size = 20}, std::size_t{1} << 30);
    EXPECT_EQ(passes(nowhere), 3 * samples.size());
    EXPECT_EQ(passes(memory), samples.size());
    const TemporaryFolder folder;
    for (const std::size_t made : {samples.size(), std::size_t{0}}) {  // the second start decodes nothing
        KeptImages file({.size = 20}, 0,
                        std::make_shared<ImageCache>(posix_file_system(), folder.path(), "d", ""));
        EXPECT_EQ(passes(file), made);
    }
}

TEST(KeptImages, with_other_rules_are_other_entries) {
    const std::vector<Sample> samples = fixture_samples();
    const TemporaryFolder folder;
    const auto cache = std::make_shared<ImageCache>(posix_file_system(), folder.path(), "d", "");
    const KeptRule rules[] = {{.size = 20},
                              {.size = 24},
                              {.size = 20, .crop_pct = 0.7},
                              {.size = 20, .margin = 1.3},
                              {.size = 20, .augment = AugmentPolicy::none},
                              {.size = 20, .augment = AugmentPolicy::none, .crop_pct = 0.7}};
    for (int pass = 0; pass < 2; ++pass)
        for (const KeptRule& rule : rules) {
            KeptImages kept(rule, 0, cache);
            for (std::size_t k = 0; k < samples.size(); ++k)
                EXPECT_EQ(kept.get(k, samples[k])->rgb, make_kept_image(samples[k], rule).rgb);
            EXPECT_EQ(kept.made(), pass == 0 ? samples.size() : 0u);
        }
    // These keep the same pixels.
    EXPECT_EQ((KeptRule{.size = 20, .augment = AugmentPolicy::standard}.digest()),
              (KeptRule{.size = 20, .augment = AugmentPolicy::strong}.digest()));
    EXPECT_EQ((KeptRule{.size = 20, .augment = AugmentPolicy::none}.digest()),
              (KeptRule{.size = 20, .augment = AugmentPolicy::flip}.digest()));
}

TEST(KeptImages, need_the_bytes_that_are_foretold) {
    const std::vector<Sample> samples = fixture_samples();
    for (const AugmentPolicy policy : {AugmentPolicy::none, AugmentPolicy::standard}) {
        const KeptRule rule{.size = 20, .augment = policy};
        std::size_t bytes = 0;
        for (const Sample& sample : samples) bytes += make_kept_image(sample, rule).rgb.size();
        EXPECT_EQ(kept_bytes(rule, samples), bytes);
    }
}
