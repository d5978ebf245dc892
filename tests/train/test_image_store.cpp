// Where images are kept is chosen by what is free, and changes how often they are decoded: never a
// result.
#include "train/image_store.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "onecycle/error.h"
#include "train/learner_core.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

constexpr std::uint64_t mb = 1'000'000;

StoreChoice chosen(const std::string& input, const std::string& cache, std::uint64_t training,
                   std::uint64_t free, bool on_device = false) {
    TrainOptions options;
    options.input = input;
    options.cache = cache;
    return choose_store(options, {.training = training, .evaluation = 10 * mb, .on_device = on_device}, free);
}

class Store : public ::testing::Test {
  protected:
    void SetUp() override { setenv("XDG_CACHE_HOME", (folder_ / "user").c_str(), 1); }
    void TearDown() override { unsetenv("XDG_CACHE_HOME"); }
    std::string user_folder() const { return folder_ / "user/onecycle/images"; }

    TemporaryFolder folder_;
};

TEST_F(Store, is_memory_as_long_as_half_of_what_is_free_is_enough_and_else_the_users_cache) {
    const StoreChoice fits = chosen("auto", "", 90 * mb, 200 * mb);
    EXPECT_EQ(fits.training_bytes, 90 * mb);
    EXPECT_EQ(fits.evaluation_bytes, 10 * mb);
    EXPECT_EQ(fits.folder, "");
    EXPECT_EQ(fits.line, "");
    const StoreChoice large = chosen("auto", "", 91 * mb, 200 * mb);
    EXPECT_EQ(large.training_bytes, 0u);
    EXPECT_EQ(large.folder, user_folder());
    for (const std::string& part : {std::string("101 MB"), user_folder(), std::string("--cache DIR")})
        EXPECT_NE(large.line.find(part), std::string::npos) << large.line;
    const StoreChoice off = chosen("auto", "off", 300 * mb, 200 * mb);
    EXPECT_EQ(off.folder, "");
    EXPECT_EQ(off.training_bytes, 90 * mb) << "as many as half of it holds, beside the evaluation side";
    EXPECT_NE(off.line.find("every epoch"), std::string::npos);
}

TEST_F(Store, is_the_folder_that_is_named) {
    for (const char* input : {"auto", "stream"})
        for (const bool on_device : {false, true}) {
            const StoreChoice choice = chosen(input, "/there", 90 * mb, 200 * mb, on_device);
            EXPECT_EQ(choice.folder, "/there");
            EXPECT_EQ(choice.training_bytes + choice.evaluation_bytes, 0u);
        }
    EXPECT_EQ(chosen("resident", "/there", 90 * mb, 200 * mb).training_bytes, 90 * mb);
}

TEST_F(Store, of_a_stream_or_beside_a_device_is_none) {
    for (const StoreChoice& choice :
         {chosen("stream", "", 90 * mb, 200 * mb), chosen("auto", "", 900 * mb, 200 * mb, true)}) {
        EXPECT_EQ(choice.folder, "");
        EXPECT_EQ(choice.training_bytes, 0u);
        EXPECT_EQ(choice.evaluation_bytes, 10 * mb);
    }
}

TEST_F(Store, in_memory_is_refused_where_it_does_not_fit) {
    EXPECT_EQ(chosen("resident", "", 170 * mb, 200 * mb).training_bytes, 170 * mb);
    try {
        chosen("resident", "", 171 * mb, 200 * mb);
        ADD_FAILURE() << "it does not fit";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), 7);
    }
}

TEST_F(Store, of_large_images_in_memory_is_told_with_what_the_next_start_would_need) {
    TrainOptions options;
    const StoreNeeds needs{.training = mb, .evaluation = mb, .source_pixels = 6'000'000'000};
    EXPECT_NE(choose_store(options, needs, 200 * mb).line.find("--cache DIR"), std::string::npos);
    options.cache = "off";
    EXPECT_EQ(choose_store(options, needs, 200 * mb).line, "");
}

// Images of 150 to 200 pixels, of which 42 are kept at --size 32.
class Trained : public Store {
  protected:
    void SetUp() override {
        Store::SetUp();
        make_demo_data(folder_ / "images", {.classes = 2, .images_per_class = 8, .size = 150});
        options_ = testing::tiny_options();
        options_.data = folder_ / "images";
        options_.batch_size = 6;
        options_.augment = AugmentPolicy::strong;
    }
    Dataset dataset() const { return open_dataset(options_.data, dataset_options(options_)); }

    // The digest of the trained state. With a name, in that run folder, which may hold a part of
    // the training; stops after so many steps, if any.
    std::string train(const std::string& name = "", std::int64_t stop_after = -1) {
        std::int64_t left = stop_after;
        const Observer observer{.stop = [&] { return left-- == 0 ? 2 : 0; },
                                .log = [&](LogLevel, const std::string& line) { log_ += line + "\n"; }};
        LearnerCore core(dataset(), resolved(options_), observer);
        std::optional<RunFolder> run;
        if (!name.empty())
            run.emplace(fs::exists(folder_ / name) ? RunFolder::open(folder_ / name)
                                                   : RunFolder::create(folder_ / name));
        EXPECT_EQ(run_fit(core, {.run = run ? &*run : nullptr}).finished(), stop_after < 0);
        made_ = core.kept ? core.kept->made() : 0;
        return core.state.digest();
    }

    TrainOptions options_;
    std::string log_;
    std::size_t made_ = 0;  // training images that the last training decoded
};

TEST_F(Trained, equals_for_every_store_and_number_of_threads_also_when_resumed_with_another) {
    const std::string expected = train();
    EXPECT_EQ(made_, dataset().train.size()) << "each once, in two epochs";
    struct Variant {
        const char *input, *cache;
        int threads;
    };
    const std::string folder = folder_ / "cache";
    for (const Variant& v : {Variant{"stream", "off", 1}, Variant{"auto", folder.c_str(), 3},
                             Variant{"resident", folder.c_str(), 2}}) {
        options_.input = v.input, options_.cache = v.cache, options_.threads = v.threads;
        EXPECT_EQ(train(), expected) << v.input << " " << v.cache;
    }
    EXPECT_EQ(made_, 0u) << "the last one found all in the file";
    options_.input = "stream", options_.cache = "off";
    train("run", 2);
    options_.input = "auto", options_.cache = folder;
    EXPECT_EQ(train("run"), expected);
}

TEST_F(Trained, a_second_start_reads_no_image_that_has_not_changed) {
    options_.cache = folder_ / "cache";
    const std::string expected = train();
    const Dataset before = dataset();
    // Other bytes of the same size and time: whoever reads a file again finds no image.
    for (const Sample& sample : all_samples(before)) {
        const auto time = fs::last_write_time(sample.path());
        std::ofstream(sample.path(), std::ios::binary) << std::string(sample.bytes, '?');
        fs::last_write_time(sample.path(), time);
    }
    EXPECT_EQ(train(), expected);
    EXPECT_EQ(made_, 0u);
    EXPECT_NE(log_.find("16 of 16 images are in the cache"), std::string::npos) << log_;
    // One that was changed is looked at, and found bad.
    const Sample& changed = before.train.front();
    fs::last_write_time(changed.path(), fs::last_write_time(changed.path()) + std::chrono::seconds(1));
    options_.max_bad = 0.5;
    const Dataset after = dataset();
    ASSERT_EQ(after.bad.size(), 1u);
    EXPECT_EQ(after.bad[0].path, changed.path());
    options_.cache = "off";
    options_.max_bad = 1;
    EXPECT_THROW(dataset(), Error) << "without the cache every file is read";
}

TEST_F(Trained, with_whole_views_and_several_sizes_equals_too) {
    options_.augment = AugmentPolicy::flip;
    options_.sizes = {{40, 1}, {32, 1}};
    const std::string expected = train();
    options_.cache = folder_ / "cache";
    EXPECT_EQ(train(), expected);
    EXPECT_EQ(train(), expected) << "from the file";
}

TEST_F(Trained, a_cache_that_cannot_be_written_costs_a_warning_and_nothing_else) {
    const std::string expected = train();
    std::ofstream(folder_ / "file") << "no folder";
    options_.cache = folder_ / "file";
    EXPECT_EQ(train(), expected);
    const std::string warning = "no more images are cached";
    const auto first = log_.find(warning);
    ASSERT_NE(first, std::string::npos) << log_;
    EXPECT_EQ(log_.find(warning, first + 1), std::string::npos) << log_;
}

}  // namespace
}  // namespace onecycle
