// Images that are lost in mid-training: the training goes on by its rules, or can be gone on with.
#include <gtest/gtest.h>

#include "core/watched_file_system.h"
#include "data/image_faults.h"
#include "data/image_list.h"
#include "formats/readers.h"
#include "formats/safetensors_writer.h"
#include "onecycle/error.h"
#include "rules/sample_order.h"
#include "store/run_folders.h"
#include "train/fault_record.h"
#include "train/learner_core.h"
#include "train/recorded_images.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

namespace fs = std::filesystem;
using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_images;
using testing::tiny_options;
using testing::without_times;

constexpr const char* last_checkpoint = "/checkpoints/step-000006.safetensors";

// A copy of the images that a test may harm, and a run on it.
class LostImages : public ::testing::Test {
  protected:
    LostImages() : data(folder / "images") {
        fs::copy(tiny_images(), data, fs::copy_options::recursive);
        options = tiny_options();
        options.data = data;
        options.max_bad = 0.2;
    }

    // The sample that epoch 1 uses at this position of this batch of its three.
    const Sample& used(const Dataset& dataset, int batch, int position) const {
        const SampleOrder order{.seed = options.seed,
                                .purpose = RandomPurpose::shuffle,
                                .samples = std::ssize(dataset.train),
                                .batch = options.batch_size,
                                .batches_per_update = 1};
        return dataset.train[static_cast<std::size_t>(order.sample_at(3 + batch, position))];
    }

    // After the first epoch: one vanishes, one is cut short, one is another of the same size, and
    // the evaluation loses one.
    void harm(const Dataset& dataset) const {
        fs::remove(used(dataset, 0, 2).path());
        fs::resize_file(used(dataset, 1, 3).path(), 50);
        const std::string path = used(dataset, 2, 4).path();
        std::string bytes = read_text(path);
        bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 64);
        std::ofstream(path, std::ios::binary) << bytes;
        fs::remove(dataset.valid[1].path());
    }

    void expect_equal_runs(const std::string& run, const std::string& other) const {
        for (const char* file : {"/steps.csv", "/latest", "/best", "/bad-images.txt"})
            EXPECT_EQ(read_text(run + file), read_text(other + file)) << file;
        EXPECT_EQ(without_times(read_text(run + "/metrics.csv")),
                  without_times(read_text(other + "/metrics.csv")));
        EXPECT_TRUE(read_text(run + last_checkpoint) == read_text(other + last_checkpoint));
    }

    FitResult resume(const std::string& path, Observer observer = {}) const {
        Learner learner(reopen_dataset(path, options, observer.log), options, std::move(observer));
        RunFolder run = RunFolder::open(path);
        return learner.fit({.run = &run});
    }

    const TemporaryFolder folder;
    const std::string data;
    TrainOptions options;
};

TEST_F(LostImages, are_replaced_named_once_counted_and_a_resume_ends_with_the_same_bytes) {
    const std::string whole = folder / "whole";
    test::WatchedFileSystem disk;
    options.checkpoint_every = 1;
    const Dataset dataset = open_dataset(data);
    std::vector<std::string> lines;
    Observer observer{.log = [&](LogLevel level, const std::string& line) {
        if (level == LogLevel::warning) lines.push_back(line);
    }};
    observer.on_epoch = [&](const EpochReport& report) {
        if (report.epoch == 0) harm(dataset);
    };
    observer.on_step = [&](const StepReport& report) {
        if (report.step < 4) return;
        const std::lock_guard lock(disk.door);
        fs::copy(whole, folder / std::to_string(report.step), fs::copy_options::recursive);
    };
    {
        Learner learner(dataset, options, observer);
        RunFolder run = RunFolders(disk).create(whole);
        const FitResult result = learner.fit({.run = &run});
        EXPECT_TRUE(result.finished());
        EXPECT_EQ(result.bad_images, 4);
    }
    ASSERT_EQ(lines.size(), 4u);
    for (std::size_t k = 0; k < 3; ++k)
        EXPECT_NE(lines[k].find(used(dataset, static_cast<int>(k), static_cast<int>(k) + 2).path()),
                  std::string::npos)
            << lines[k];
    EXPECT_NE(lines[3].find("left out of the evaluation"), std::string::npos) << lines[3];
    const std::string listed = read_text(whole + "/bad-images.txt");
    EXPECT_EQ(std::count(listed.begin(), listed.end(), '\n'), 4) << listed;

    for (const char* killed : {"4", "5"}) {
        SCOPED_TRACE(std::string("killed in step ") + killed);
        EXPECT_TRUE(resume(folder / killed).finished());
        expect_equal_runs(folder / killed, whole);
    }
}

TEST_F(LostImages, under_fail_the_state_is_saved_and_both_ways_on_work) {
    options.bad_images = BadImages::fail;
    const Dataset dataset = open_dataset(data);
    const std::string whole = folder / "whole", path = folder / "run";
    {
        Learner learner(dataset, options);
        RunFolder run = RunFolder::create(whole);
        learner.fit({.run = &run});
    }
    const Sample lost = used(dataset, 2, 5);  // of the last batch
    const std::string hidden = folder / "hidden";
    {
        Observer observer{.on_epoch = [&](const EpochReport&) { fs::rename(lost.path(), hidden); }};
        Learner learner(dataset, options, observer);
        RunFolder run = RunFolder::create(path);
        try {
            learner.fit({.run = &run});
            FAIL() << "it went on without " << lost.path();
        } catch (const UnusableImage& image) {
            EXPECT_EQ(image.exit_code(), 3);
            EXPECT_EQ(image.where(), lost.path());
            EXPECT_EQ(image.option(), "--bad-images skip");
        }
        EXPECT_EQ(newest_valid_checkpoint(path).value().step, 5) << "all that was done is saved";
    }
    const std::string other = folder / "other";
    fs::copy(path, other, fs::copy_options::recursive);
    EXPECT_THROW(resume(path), Error) << "still without it, and still not allowed";
    options.bad_images = BadImages::skip;
    EXPECT_TRUE(resume(other).finished());
    options.bad_images = BadImages::fail;
    fs::rename(hidden, lost.path());
    EXPECT_TRUE(resume(path).finished());
    EXPECT_EQ(read_text(path + "/steps.csv"), read_text(whole + "/steps.csv"));
    EXPECT_TRUE(read_text(path + last_checkpoint) == read_text(whole + last_checkpoint));
}

TEST_F(LostImages, too_many_stop_the_training_which_is_saved) {
    options.max_bad = 0.05;  // 36 images: one may fail
    const Dataset dataset = open_dataset(data);
    const std::string path = folder / "run";
    Observer observer{.on_epoch = [&](const EpochReport&) { harm(dataset); }};
    {
        Learner learner(dataset, options, observer);
        RunFolder run = RunFolder::create(path);
        EXPECT_THROW(learner.fit({.run = &run}), UnusableImage);
    }
    EXPECT_GE(newest_valid_checkpoint(path).value().step, 3);
    EXPECT_THROW(reopen_dataset(path, options), Error);
    options.max_bad = 1;
    EXPECT_TRUE(resume(path).finished());
}

TEST_F(LostImages, a_resume_says_what_became_of_the_folder_and_leaves_new_images_alone) {
    const std::string path = folder / "run";
    const Dataset dataset = open_dataset(data);
    {
        int left = 1;
        Learner learner(dataset, options, {.stop = [&] { return left-- == 0 ? 2 : 0; }});
        RunFolder run = RunFolder::create(path);
        learner.fit({.run = &run});
    }
    fs::copy_file(dataset.train[0].path(), dataset.train[0].path() + "-new.jpg");
    Dataset again = reopen_dataset(path, options);
    EXPECT_EQ(digest(again), digest(dataset));
    harm(dataset);
    std::string said;
    again = reopen_dataset(path, options, [&](LogLevel, const std::string& line) { said += line + "\n"; });
    EXPECT_EQ(digest(again), digest(dataset));
    EXPECT_NE(
        said.find("its 36 images since then: 2 missing, 2 changed, 1 new (not used); left out from now on"),
        std::string::npos)
        << said;
    // Moved as a whole, it is found under its new name.
    fs::rename(data, folder / "moved");
    EXPECT_THROW(reopen_dataset(path, options), Error);
    options.data = folder / "moved";
    EXPECT_EQ(digest(reopen_dataset(path, options)), digest(dataset));
}

// The images on a device are read once, before the first step.
TEST_F(LostImages, on_a_device_are_replaced_by_the_same_that_the_host_takes_bit_for_bit) {
    options.device = "emulated";
    options.precision = "fp32";
    options.crop_pct = 0.6;
    options.epochs = 1;
    const Dataset dataset = open_dataset(data);
    harm(dataset);
    std::string expected;
    for (const char* input : {"stream", "resident"}) {
        options.input = input;
        Learner learner(dataset, options);
        EXPECT_EQ(learner.options().input, input);
        EXPECT_TRUE(learner.fit().finished());
        if (expected.empty()) expected = learner.state_digest();
        EXPECT_EQ(learner.state_digest(), expected);
    }
}

// What an Error says; empty: there was none.
template <class Action>
std::string refusal(Action action) {
    try {
        action();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::model) << error.what();
        return error.what();
    }
    return "";
}

TEST(RecordedImages, a_list_that_no_training_wrote_is_refused_by_name) {
    const TemporaryFolder folder;
    const std::string path = folder / "checkpoint.safetensors";
    const auto list_of = [&](StoredType type, const std::vector<std::uint8_t>& bytes) {
        const std::int64_t size = type == StoredType::u8 ? 1 : 4;
        write_safetensors(path,
                          {{images_tensor,
                            type,
                            {std::ssize(bytes) / size},
                            [&] { return std::as_bytes(std::span(bytes)); }}},
                          {}, posix_file_system());
        return recorded_images(SafetensorsFile(path));
    };
    const std::vector<std::uint8_t> good = pack(ImageList{.automatic_split = true});
    ASSERT_TRUE(list_of(StoredType::u8, good));
    EXPECT_TRUE(list_of(StoredType::u8, good)->automatic_split);
    const auto expect_refusal = [&](StoredType type, const std::vector<std::uint8_t>& bytes,
                                    const char* why) {
        const std::string text = refusal([&] { list_of(type, bytes); });
        EXPECT_NE(text.find("its list of training images is not readable: "), std::string::npos) << text;
        EXPECT_NE(text.find(why), std::string::npos) << text;
        EXPECT_NE(text.find(path), std::string::npos) << text;
    };
    expect_refusal(StoredType::f32, std::vector<std::uint8_t>(16), "it does not hold bytes");
    expect_refusal(StoredType::u8, std::vector<std::uint8_t>(16, 255), "");
    expect_refusal(StoredType::u8, {good.begin(), good.end() - 1}, "");
    expect_refusal(StoredType::u8, {}, "");
}

TEST(FaultRecord, reads_back_what_was_written_and_refuses_all_else) {
    Dataset dataset;
    dataset.train.resize(3);
    dataset.valid.resize(1);
    const std::vector<ImageFault> faults = {
        {.training = true, .sample = 2, .from = 7, .reason = "truncated"},
        {.training = false, .sample = 0, .from = 9, .reason = "a \"b\"\n"}};
    const std::vector<ImageFault> read = faults_from_record(fault_record(faults), dataset, "file");
    ASSERT_EQ(read.size(), 2u);
    EXPECT_TRUE(read[0].training);
    EXPECT_EQ(read[0].sample, 2);
    EXPECT_EQ(read[0].from, 7);
    EXPECT_FALSE(read[1].training);
    EXPECT_EQ(read[1].reason, "a \"b\"\\n");
    const auto entry = [](const std::string& sample) {
        return R"([{"side":"train","sample":)" + sample + R"(,"from":0,"reason":"x"}])";
    };
    EXPECT_EQ(refusal([&] { faults_from_record(entry("0"), dataset, "file"); }), "");
    for (const std::string& record :
         {std::string("{"), std::string("7"), std::string("[7]"), std::string("[{}]"), entry("3"),
          entry("-1"), entry("\"0\""), entry("99999999999999999999"),
          std::string(R"([{"side":"train","sample":0,"from":0}])")})
        EXPECT_NE(refusal([&] { faults_from_record(record, dataset, "file"); }).find("list of bad images"),
                  std::string::npos)
            << record;
}

}  // namespace
}  // namespace onecycle
