// A cache may be damaged, stale, shared, cut off or full: what it gives is right, or nothing.
#include "data/image_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "core/simulated_file_system.h"
#include "data/files.h"

using namespace onecycle;
using namespace onecycle::test;

namespace {

constexpr std::uint64_t rule = 7;
const std::string data = "/nowhere/photos";

std::vector<Sample> made_up_samples(int n) {
    std::vector<Sample> samples;
    for (int k = 0; k < n; ++k) {
        Sample sample{.place = ImagePlace(data + "/" + std::to_string(k) + ".jpg", std::to_string(k)),
                      .bytes = 1000u + k};
        sample.width = 40 + k, sample.height = 30;
        sample.content = 77u + static_cast<unsigned>(k);
        sample.changed = 1'700'000'000'000'000'000 + k;
        samples.push_back(sample);
    }
    return samples;
}

Image image_of(const Sample& sample) {
    Image image{5 + sample.width % 7, 11, {}};
    std::mt19937 random(static_cast<unsigned>(sample.width));
    image.rgb.resize(static_cast<std::size_t>(3 * image.width * image.height));
    for (std::uint8_t& value : image.rgb) value = static_cast<std::uint8_t>(random());
    return image;
}

void add_all(ImageCache& cache, const std::vector<Sample>& samples) {
    for (const Sample& sample : samples) cache.add(sample, rule, image_of(sample));
}

// Twice: what is begun anew forgets what was found before.
void complete(ImageCache& cache, const std::vector<Sample>& samples) {
    for (int pass = 0; pass < 2; ++pass)
        for (const Sample& sample : samples)
            if (!cache.find(sample, rule)) cache.add(sample, rule, image_of(sample));
}

// How many are found; each must be right.
std::size_t found(ImageCache& cache, const std::vector<Sample>& samples) {
    std::size_t count = 0;
    for (const Sample& sample : samples)
        if (const auto image = cache.find(sample, rule)) {
            const Image expected = image_of(sample);
            EXPECT_EQ(image->width, expected.width);
            EXPECT_EQ(image->rgb, expected.rgb);
            ++count;
        }
    return count;
}

std::vector<fs::path> files_in(const fs::path& folder) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
}

class ImageCacheIn : public ::testing::Test {
  protected:
    std::unique_ptr<ImageCache> open(const std::string& settings = "128", const std::string& of = data) {
        return std::make_unique<ImageCache>(posix_file_system(), folder_.path() / "cache", of, settings);
    }
    void fill() { add_all(*open(), samples_); }
    std::size_t found_now() { return found(*open(), samples_); }
    fs::path file(const std::string& ending) {
        for (const fs::path& path : files_in(folder_.path() / "cache"))
            if (path.extension() == ending) return path;
        ADD_FAILURE() << "no " << ending;
        return {};
    }

    TemporaryFolder folder_;
    std::vector<Sample> samples_ = made_up_samples(20);
};

TEST_F(ImageCacheIn, a_file_and_an_index_hold_what_the_next_process_finds) {
    EXPECT_EQ(found_now(), 0u);
    EXPECT_FALSE(fs::exists(folder_.path() / "cache")) << "looking writes nothing";
    fill();
    EXPECT_EQ(files_in(folder_.path() / "cache").size(), 2u);
    EXPECT_EQ(found_now(), 20u);
    const auto cache = open();
    EXPECT_EQ(cache->complaint(), "");
    for (const Sample& sample : samples_) {
        EXPECT_TRUE(cache->contains(sample, rule));
        EXPECT_FALSE(cache->contains(sample, rule + 1));
        Sample looked_at = sample;
        looked_at.width = looked_at.height = 0;
        looked_at.content = 0;
        ASSERT_TRUE(cache->checked_before(looked_at));
        EXPECT_EQ(looked_at.width, sample.width);
        EXPECT_EQ(looked_at.height, sample.height);
        EXPECT_EQ(looked_at.content, sample.content);
    }
    EXPECT_EQ(found(*open("224"), samples_), 0u) << "other settings";
    EXPECT_EQ(found(*open("128", data + "2"), samples_), 0u) << "another folder";
}

TEST_F(ImageCacheIn, an_entry_counts_while_its_source_has_the_size_and_time_that_it_had) {
    fill();
    samples_[3].changed += 1;
    samples_[5].bytes += 1;
    samples_[8].place = ImagePlace(samples_[8].path() + "x", "8");
    samples_[9].changed = 0;  // nobody knows
    samples_[10].content ^= 1;
    EXPECT_EQ(found_now(), 15u);
    EXPECT_FALSE(open()->checked_before(samples_[3]));
    EXPECT_TRUE(open()->checked_before(samples_[4]));
    fill();
    EXPECT_EQ(found_now(), 19u) << "made again, and found";
}

TEST_F(ImageCacheIn, damage_to_any_byte_costs_entries_and_never_gives_wrong_pixels) {
    fill();
    for (const char* ending : {".images", ".index"}) {
        const fs::path path = file(ending);
        const std::vector<std::uint8_t> whole = bytes_of(path);
        for (std::size_t at = 0; at < whole.size(); at += at < 200 ? 1 : 53) {
            std::vector<std::uint8_t> damaged = whole;
            damaged[at] ^= 0x20;
            write(path, damaged);
            EXPECT_GE(found_now() + (at < 64 || ending == std::string(".index") ? 20 : 1), 20u)
                << ending << at;
        }
        for (std::size_t size = 0; size < whole.size(); size += 97) {
            write(path, std::vector<std::uint8_t>(whole.begin(),
                                                  whole.begin() + static_cast<std::ptrdiff_t>(size)));
            EXPECT_LT(found_now(), 20u) << ending << size;
        }
        write(path, whole);
        EXPECT_EQ(found_now(), 20u);
    }
}

TEST_F(ImageCacheIn, what_is_damaged_is_made_again) {
    fill();
    for (const char* ending : {".images", ".index"})
        for (const double part : {0.0, 0.01, 0.5, 0.99}) {
            std::vector<std::uint8_t> bytes = bytes_of(file(ending));
            bytes[static_cast<std::size_t>(part * static_cast<double>(bytes.size()))] ^= 1;
            write(file(ending), bytes);
            {
                const auto cache = open();
                complete(*cache, samples_);
                EXPECT_EQ(found(*cache, samples_), 20u);
            }
            EXPECT_EQ(found_now(), 20u) << ending << part;
        }
}

TEST_F(ImageCacheIn, a_file_of_mostly_garbage_begins_anew) {
    fill();
    const auto size = fs::file_size(file(".images"));
    for (int round = 0; round < 10; ++round) {
        for (Sample& sample : samples_) ++sample.changed;  // all were changed
        fill();
        EXPECT_EQ(found_now(), 20u);
        EXPECT_LE(fs::file_size(file(".images")), 4 * size);
    }
}

TEST_F(ImageCacheIn, of_two_that_use_it_one_writes_and_the_other_reads_what_that_has_written) {
    const auto first = open(), second = open();
    first->add(samples_[0], rule, image_of(samples_[0]));
    second->add(samples_[1], rule, image_of(samples_[1]));
    EXPECT_EQ(second->complaint(), "") << "that another one writes is no fault";
    EXPECT_FALSE(second->find(samples_[1], rule));
    add_all(*first, samples_);
    first->refresh();
    second->refresh();
    EXPECT_EQ(found(*second, samples_), 20u);
}

TEST_F(ImageCacheIn, processes_at_once_and_killed_ones_leave_a_sound_cache) {
    samples_ = made_up_samples(200);
    for (int round = 0; round < 3; ++round) {
        std::vector<pid_t> children;
        for (int k = 0; k < 4; ++k) {
            const pid_t child = fork();
            if (child == 0) {
                bool right = true;
                {
                    const auto cache = open();
                    for (std::size_t i = 0; i < samples_.size(); ++i) {
                        const Sample& sample =
                            samples_[(i + 50u * static_cast<unsigned>(k)) % samples_.size()];
                        const auto image = cache->find(sample, rule);
                        if (image && image->rgb != image_of(sample).rgb) right = false;
                        if (!image) cache->add(sample, rule, image_of(sample));
                        if (i % 20 == 0) cache->refresh();
                        if (k == 0 && round < 2 && i == 100) _exit(0);  // as if killed
                    }
                }
                _exit(right ? 0 : 1);
            }
            children.push_back(child);
        }
        for (const pid_t child : children) {
            int status = 0;
            waitpid(child, &status, 0);
            EXPECT_EQ(status, 0);
        }
        found_now();
    }
    const auto cache = open();
    complete(*cache, samples_);
    EXPECT_EQ(found(*cache, samples_), 200u);
}

TEST_F(ImageCacheIn, a_folder_that_cannot_be_written_is_complained_of_once) {
    write(folder_.path() / "cache", std::string("a file where the folder should be"));
    const auto cache = open();
    EXPECT_EQ(cache->complaint(), "");
    add_all(*cache, samples_);
    EXPECT_NE(cache->complaint().find((folder_.path() / "cache").string()), std::string::npos);
    cache->refresh();
    add_all(*cache, samples_);
    EXPECT_EQ(cache->complaint(), "");
    EXPECT_EQ(found(*cache, samples_), 0u);
}

TEST(ImageCacheOnDisk, of_which_too_little_is_free_is_left_alone) {
    SimulatedFileSystem disk;
    const std::vector<Sample> samples = made_up_samples(5);
    disk.space = 20'000;
    ImageCache cache(disk, "cache", data, "");
    cache.expect(10'001);
    add_all(cache, samples);
    EXPECT_NE(cache.complaint(), "");
    EXPECT_EQ(found(cache, samples), 0u);
    ImageCache smaller(disk, "cache", data, "");
    smaller.expect(10'000);
    add_all(smaller, samples);
    EXPECT_EQ(smaller.complaint(), "");
    EXPECT_EQ(found(smaller, samples), 5u);
}

// A full disk, an error, a short write at each call; then power is lost.
TEST(ImageCacheOnDisk, whatever_fails_at_any_call_gives_right_pixels_or_none_and_one_complaint) {
    const std::vector<Sample> samples = made_up_samples(4);
    for (const int code : {ENOSPC, EIO, EROFS, 0}) {
        std::size_t complaints = 0;
        for (std::int64_t call = 1; call < 60; ++call) {
            SimulatedFileSystem disk;
            disk.fault = {.at_call = call, .code = code, .for_ever = code != 0};
            {
                ImageCache cache(disk, "cache", data, "");
                add_all(cache, samples);
                const std::size_t there = found(cache, samples);
                cache.refresh();
                complaints += !cache.complaint().empty();
                EXPECT_EQ(cache.complaint(), "");
                if (code == 0) {
                    EXPECT_EQ(there, 4u);
                }
            }
            disk.lose_power(static_cast<std::uint64_t>(call));
            {
                ImageCache cache(disk, "cache", data, "");
                found(cache, samples);
                complete(cache, samples);
                EXPECT_EQ(found(cache, samples), 4u) << code << " at " << call;
            }
            ImageCache cache(disk, "cache", data, "");
            EXPECT_EQ(found(cache, samples), 4u) << code << " at " << call;
        }
        EXPECT_EQ(complaints > 5, code != 0) << code << ": " << complaints;
    }
}

TEST(ImageCacheOnDisk, power_lost_at_any_call_leaves_a_sound_cache) {
    const std::vector<Sample> samples = made_up_samples(4);
    for (std::int64_t call = 1; call < 40; ++call)
        for (std::uint64_t seed = 0; seed < 8; ++seed) {
            SimulatedFileSystem disk;
            disk.power_loss_at_call = call;
            {
                ImageCache cache(disk, "cache", data, "");
                add_all(cache, {samples.begin(), samples.begin() + 2});
                cache.refresh();
                add_all(cache, samples);
            }
            disk.lose_power(seed);
            ImageCache cache(disk, "cache", data, "");
            complete(cache, samples);
            EXPECT_EQ(found(cache, samples), 4u);
        }
}

}  // namespace
