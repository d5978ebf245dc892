// Images as a device keeps them: what is planned is what is made.
#include <gtest/gtest.h>

#include "data/files.h"
#include "data/resident_images.h"

using namespace onecycle;
using namespace onecycle::test;

namespace {

Sample sample_of(const std::string& name, int label = 0) {
    const fs::path path = images() / name;
    Sample sample{.place = ImagePlace(path, name), .label = label, .bytes = fs::file_size(path)};
    const Image image = read_image(path);
    sample.width = image.width, sample.height = image.height;
    return sample;
}

std::vector<Sample> fixture_samples() {
    std::vector<Sample> samples;
    for (const char* name : {"rgb_420.jpg", "orientation_6.jpg", "progressive.jpg", "one_pixel.png",
                             "portrait.png", "thin.png", "source.png", "palette.bmp"})
        samples.push_back(sample_of(name, static_cast<int>(samples.size())));
    return samples;
}

std::vector<Image> made(const std::vector<Sample>& samples, const KeptRule& rule, int threads) {
    std::vector<Image> list;
    KeptImages kept(rule, 0);
    make_resident_images(samples, plan_resident_images(samples, rule), kept, threads,
                         [&](std::size_t k, const Image& image) {
                             EXPECT_EQ(k, list.size());
                             list.push_back(image);
                         });
    return list;
}

}  // namespace

TEST(ResidentImages, small_images_are_kept_as_they_are_and_large_ones_at_the_margin) {
    const std::vector<Sample> samples = fixture_samples();
    const KeptRule rule{.size = 28, .crop_pct = 0.875, .margin = 1.25};  // short side 40
    const ResidentPlan plan = plan_resident_images(samples, rule);
    const std::vector<Image> images = made(samples, rule, 2);
    ASSERT_EQ(plan.table.size(), samples.size());
    ASSERT_EQ(images.size(), samples.size());
    std::int64_t end = 0;
    std::size_t shrunk = 0;
    for (std::size_t k = 0; k < samples.size(); ++k) {
        const ResidentImage& entry = plan.table[k];
        const Image whole = read_image(samples[k].path());
        EXPECT_EQ(entry.width, images[k].width);
        EXPECT_EQ(entry.height, images[k].height);
        EXPECT_EQ(entry.label, static_cast<int>(k));
        EXPECT_GE(entry.offset, end);
        end = entry.offset + entry.width * entry.height * 3;
        if (std::min(whole.width, whole.height) <= 40) {
            EXPECT_EQ(images[k].rgb, whole.rgb) << samples[k].name();
        } else {
            ++shrunk;
            EXPECT_EQ(std::min(entry.width, entry.height), 40) << samples[k].name();
            EXPECT_NEAR(static_cast<double>(entry.width) / entry.height,
                        static_cast<double>(whole.width) / whole.height, 0.04);
            EXPECT_EQ(images[k].rgb, resize_bilinear(whole, entry.width, entry.height).rgb)
                << samples[k].name();
        }
    }
    EXPECT_EQ(plan.shrunk, shrunk);
    EXPECT_GT(shrunk, 0u);
    EXPECT_LT(shrunk, samples.size());
    EXPECT_GE(plan.bytes, static_cast<std::size_t>(end));
}

TEST(ResidentImages, a_part_of_the_list_has_room_for_its_images_alone) {
    const std::vector<Sample> samples = fixture_samples();
    const KeptRule rule{.size = 28};
    const std::vector<Image> whole = made(samples, rule, 2);
    const ResidentPlan all = plan_resident_images(samples, rule);
    std::size_t bytes = 0;
    for (const std::size_t part : {0u, 1u}) {
        const auto holds = [&](std::size_t k) { return k % 2 == part; };
        const ResidentPlan plan = plan_resident_images(samples, rule, nullptr, nullptr, holds);
        ASSERT_EQ(plan.table.size(), samples.size());
        for (std::size_t k = 0; k < samples.size(); ++k)
            EXPECT_EQ(plan.table[k].width, holds(k) ? all.table[k].width : 0);
        KeptImages kept(rule, 0);
        std::vector<std::size_t> taken;
        make_resident_images(samples, plan, kept, 2, [&](std::size_t k, const Image& image) {
            taken.push_back(k);
            EXPECT_EQ(image.rgb, whole[k].rgb);
        });
        EXPECT_EQ(taken, (std::vector<std::size_t>{part, part + 2, part + 4, part + 6}));
        bytes += plan.bytes;
    }
    EXPECT_EQ(bytes, all.bytes);
}

TEST(ResidentImages, without_random_crops_the_evaluation_view_is_kept) {
    const std::vector<Sample> samples = fixture_samples();
    for (AugmentPolicy policy : {AugmentPolicy::none, AugmentPolicy::flip}) {
        const KeptRule rule{.size = 28, .augment = policy};
        const ResidentPlan plan = plan_resident_images(samples, rule);
        EXPECT_EQ(plan.shrunk, 0u);
        EXPECT_EQ(plan.largest_crop, 28);
        const std::vector<Image> images = made(samples, rule, 3);
        for (std::size_t k = 0; k < samples.size(); ++k)
            EXPECT_EQ(images[k].rgb, evaluation_view(read_image(samples[k].path()), 28, 0.875).rgb);
    }
}

TEST(ResidentImages, are_equal_for_any_threads_and_where_sizes_are_not_known_yet) {
    std::vector<Sample> samples = fixture_samples();
    while (samples.size() < 60) samples.push_back(samples[samples.size() % 8]);
    const KeptRule rule{.size = 20};
    const ResidentPlan plan = plan_resident_images(samples, rule);
    const std::vector<Image> expected = made(samples, rule, 0);
    for (Sample& sample : samples) sample.width = sample.height = 0;
    for (int threads : {1, 5}) {
        const ResidentPlan same = plan_resident_images(samples, rule);
        const std::vector<Image> images = made(samples, rule, threads);
        EXPECT_EQ(same.bytes, plan.bytes);
        EXPECT_EQ(same.largest_crop, plan.largest_crop);
        for (std::size_t k = 0; k < samples.size(); ++k) EXPECT_EQ(images[k].rgb, expected[k].rgb);
    }
}

TEST(ResidentImages, a_file_that_vanished_is_named_and_an_exception_of_the_taker_ends_the_work) {
    TemporaryFolder folder;
    std::vector<Sample> samples;
    for (int k = 0; k < 40; ++k) {
        const fs::path path = folder / ("image" + std::to_string(k) + ".png");
        fs::copy_file(images() / "rgb.png", path);
        samples.push_back({.place = ImagePlace(path, path.filename()), .bytes = fs::file_size(path)});
    }
    for (int threads : {0, 3}) {
        KeptImages kept({.size = 16}, 0);
        const ResidentPlan plan = plan_resident_images(samples, kept.rule());
        const fs::path hidden = folder / "elsewhere";
        fs::rename(samples[20].path(), hidden);
        std::size_t taken = 0;
        try {
            make_resident_images(samples, plan, kept, threads, [&](std::size_t, const Image&) { ++taken; });
            ADD_FAILURE() << "image20.png is not there";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::data);
            EXPECT_NE(std::string(error.what()).find("image20.png"), std::string::npos) << error.what();
        }
        EXPECT_LE(taken, 20u);
        fs::rename(hidden, samples[20].path());
        EXPECT_THROW(make_resident_images(samples, plan, kept, threads,
                                          [](std::size_t k, const Image&) {
                                              if (k == 5) throw std::runtime_error("enough");
                                          }),
                     std::runtime_error);
    }
}
