// Decoding and resizing against Pillow's own results (tests/reference/generate_images.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "data/files.h"
#include "onecycle/image.h"
#include "rules/view.h"

using namespace onecycle;
using namespace onecycle::test;

namespace {

int largest_difference(const Image& a, const Image& b) {
    EXPECT_EQ(a.width, b.width);
    EXPECT_EQ(a.height, b.height);
    if (a.rgb.size() != b.rgb.size()) return 256;
    int most = 0;
    for (std::size_t i = 0; i < a.rgb.size(); ++i) most = std::max(most, std::abs(a.rgb[i] - b.rgb[i]));
    return most;
}

double mean_difference(const Image& a, const Image& b) {
    EXPECT_EQ(a.rgb.size(), b.rgb.size());
    double sum = 0;
    for (std::size_t i = 0; i < std::min(a.rgb.size(), b.rgb.size()); ++i)
        sum += std::abs(a.rgb[i] - b.rgb[i]);
    return sum / static_cast<double>(a.rgb.size());
}

// Every fixture file that has its pixels beside it.
std::vector<std::string> decodable(const std::set<std::string>& extensions) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(images()))
        if (extensions.contains(entry.path().extension().native()) &&
            fs::exists(entry.path().native() + ".ppm"))
            names.push_back(entry.path().filename().native());
    std::sort(names.begin(), names.end());
    return names;
}

std::vector<std::vector<std::string>> table(const std::string& name) {
    std::ifstream file(images() / name);
    std::vector<std::vector<std::string>> rows;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        rows.emplace_back(std::istream_iterator<std::string>(words), std::istream_iterator<std::string>());
    }
    EXPECT_FALSE(rows.empty()) << name;
    return rows;
}

}  // namespace

TEST(Decode, png_and_bmp_pixels_are_pillows) {
    const std::vector<std::string> names = decodable({".png", ".bmp"});
    ASSERT_GE(names.size(), 41u);
    for (const std::string& name : names)
        EXPECT_EQ(largest_difference(read_image(images() / name), expected(name)), 0) << name;
}

TEST(Decode, gif_pnm_webp_and_tiff_pixels_are_pillows) {
    std::set<std::string> extensions = {".gif", ".ppm", ".pgm", ".pbm"};
    std::size_t least = 25;
    if (!webp_decoder().empty()) extensions.insert(".webp"), least += 7;
    if (!tiff_decoder().empty()) extensions.insert(".tif"), least += 23;
    const std::vector<std::string> names = decodable(extensions);
    ASSERT_GE(names.size(), least);
    for (const std::string& name : names)
        EXPECT_EQ(largest_difference(read_image(images() / name), expected(name)), 0) << name;
}

TEST(Decode, avif_and_heic_pixels_are_nearly_pillows) {
    // Another library than Pillow's, which makes colours of the light and the two colour
    // differences otherwise.
    const std::map<std::string, double> bounds = {{"colour.avif", 0.5},
                                                  {"subsampled.avif", 5},
                                                  {"grey.avif", 0.01},
                                                  {"orientation_6.avif", 5},
                                                  {"colour.heic", 8}};
    for (const auto& [name, bound] : bounds) {
        const char* decoder = name.ends_with("heic") ? "HEIC" : "AVIF";
        if (heif_decoder().find(decoder) == std::string::npos) continue;
        EXPECT_LE(mean_difference(read_image(images() / name), expected(name)), bound) << name;
    }
}

TEST(Decode, jpeg_pixels_are_pillows) {
    std::vector<std::string> names = decodable({".jpg"});
    if (webp_decoder().empty()) std::erase(names, "webp_named.jpg");
    ASSERT_GE(names.size(), 25u);
    for (const std::string& name : names) {
        const Image got = read_image(images() / name), want = expected(name);
        if (jpeg_decoder().starts_with("libjpeg-turbo"))
            EXPECT_EQ(largest_difference(got, want), 0) << name;
        else  // another inverse DCT (by 2 at most), and other weights at the right edge of 4:2:2
            EXPECT_LT(mean_difference(got, want), 0.5) << name;
    }
}

TEST(Decode, damaged_jpegs_have_pillows_pixels_and_say_so) {
    if (!jpeg_decoder().starts_with("libjpeg-turbo"))
        GTEST_SKIP() << "stb_image refuses some, and does not tell";
    for (const auto& row : table("damaged.txt")) {
        const std::string& name = row[0];
        const std::vector<std::uint8_t> bytes = bytes_of(images() / name);
        EXPECT_NO_THROW(probe_image(bytes, name));
        const Image got = decode_image(bytes, name);
        EXPECT_TRUE(got.damaged) << name;
        EXPECT_EQ(largest_difference(got, expected(name)), 0) << name;
        DecodeOptions options;
        options.min_short_side = 15;
        EXPECT_EQ(largest_difference(decode_image(bytes, name, options), expected(name + ".half")), 0)
            << name;
    }
    for (const std::string name :
         {"rgb_420.jpg", "progressive.jpg", "restart.jpg", "trailing_bytes.jpg", "cmyk.jpg"})
        EXPECT_FALSE(read_image(images() / name).damaged) << name;
}

TEST(Decode, the_eight_orientations_show_one_picture) {
    const Image first = read_image(images() / "orientation_1.jpg");
    for (int k = 1; k <= 8; ++k) {
        const std::string name = "orientation_" + std::to_string(k) + ".jpg";
        const ImageProbe probe = probe_image(bytes_of(images() / name), name);
        EXPECT_EQ(probe.orientation, k);
        const Image image = read_image(images() / name);
        EXPECT_EQ(image.width, k < 5 ? probe.width : probe.height);
        EXPECT_EQ(image.rgb != first.rgb, k != 1) << name;
    }
}

TEST(Decode, reduced_decoding_keeps_the_short_side) {
    const std::vector<std::uint8_t> bytes = bytes_of(images() / "rgb_420.jpg");  // 37 x 29
    DecodeOptions options;
    options.min_short_side = 15;
    const Image half = decode_image(bytes, "", options);
    options.min_short_side = 16;
    const Image whole = decode_image(bytes, "", options);
    EXPECT_EQ(whole.width, 37);
    if (jpeg_decoder().starts_with("libjpeg-turbo")) {
        EXPECT_EQ(half.width, 19);
        EXPECT_EQ(half.height, 15);
        // Another filter, the same picture.
        EXPECT_LT(mean_difference(half, resize_bilinear(whole, 19, 15)), 12);
    }
}

TEST(Resize, is_pillows_bit_for_bit) {
    for (const auto& row : table("resize.txt")) {
        const Image wanted = expected(row[0]);
        const Box box{std::stod(row[2]), std::stod(row[3]), std::stod(row[4]), std::stod(row[5])};
        const Image got = resize_bilinear(read_image(images() / row[1]), box, wanted.width, wanted.height);
        EXPECT_EQ(largest_difference(got, wanted), 0) << row[0];
    }
}

TEST(Resize, evaluation_view_is_torchvisions) {
    for (const auto& row : table("evaluation.txt")) {
        const Image got =
            evaluation_view(read_image(images() / row[1]), std::stoi(row[2]), std::stod(row[3]));
        EXPECT_EQ(largest_difference(got, expected(row[0])), 0) << row[0] << " of " << row[1];
    }
}

TEST(Augment, crops_follow_their_limits_and_fall_back_to_the_centre) {
    const auto crop = [](int width, int height, std::uint64_t sample) {
        RandomStream random(7, RandomPurpose::augment, 0, sample);
        return draw_crop(width, height, 0.35, random);
    };
    double smallest = 1, largest = 0;
    for (std::uint64_t sample = 0; sample < 2000; ++sample) {
        const Rectangle box = crop(200, 150, sample);
        ASSERT_GE(box.x, 0);
        ASSERT_GE(box.y, 0);
        ASSERT_LE(box.x + box.width, 200);
        ASSERT_LE(box.y + box.height, 150);
        const double area = box.width * box.height / (200.0 * 150);
        const double ratio = static_cast<double>(box.width) / box.height;
        ASSERT_GT(ratio, 0.74);
        ASSERT_LT(ratio, 1.35);
        smallest = std::min(smallest, area), largest = std::max(largest, area);
    }
    EXPECT_NEAR(smallest, 0.35, 0.01);
    EXPECT_GT(largest, 0.95);
    const Rectangle thin = crop(1000, 10, 0);
    EXPECT_EQ(thin.x, 493);  // 10 * 4 / 3 = 13 columns in the middle
    EXPECT_EQ(thin.width, 13);
}

TEST(Augment, flip_is_the_evaluation_view_mirrored_half_of_the_time) {
    const Image image = read_image(images() / "source.png");
    const Image view = evaluation_view(image, 32, 0.875);
    int mirrored = 0;
    for (std::uint64_t sample = 0; sample < 400; ++sample) {
        const Image got = training_view(image, AugmentPolicy::flip, 32, 0.875, {1, 0, sample});
        if (got.rgb == view.rgb) continue;
        ++mirrored;
        for (int x = 0; x < 32; ++x) ASSERT_EQ(got.rgb[x * 3], view.rgb[(31 - x) * 3]);
    }
    EXPECT_NEAR(mirrored, 200, 40);  // four standard deviations
}

TEST(Augment, policies_keep_the_picture_and_change_with_epoch_and_sample) {
    const Image image = read_image(images() / "source.png");
    for (const AugmentPolicy policy : {AugmentPolicy::standard, AugmentPolicy::strong}) {
        std::set<std::string> views;
        for (std::uint64_t sample = 0; sample < 10; ++sample)
            for (std::uint32_t epoch = 0; epoch < 10; ++epoch) {
                const ViewKey key{3, epoch, sample};
                const Image view = training_view(image, policy, 24, 0.875, key);
                ASSERT_EQ(view.rgb.size(), 24u * 24 * 3);
                ASSERT_EQ(view.rgb, training_view(image, policy, 24, 0.875, key).rgb);
                views.emplace(view.rgb.begin(), view.rgb.end());
            }
        EXPECT_EQ(views.size(), 100u) << to_string(policy);
        EXPECT_EQ(parse_augment(to_string(policy)), policy);
        // A flat picture stays flat under crops and rotation; strong may change its colour or erase
        // a part.
        const Image flat{50, 40, std::vector<std::uint8_t>(50 * 40 * 3, 90)};
        const Image view = training_view(flat, policy, 24, 0.875, {3, 0, 0});
        if (policy == AugmentPolicy::standard) {
            EXPECT_EQ(view.rgb, std::vector<std::uint8_t>(24 * 24 * 3, 90));
        }
    }
    EXPECT_THROW(parse_augment("auto"), Error);
}
