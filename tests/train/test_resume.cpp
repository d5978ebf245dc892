// A run that was interrupted anywhere and resumed ends with the same bytes as one that was not.
#include <gtest/gtest.h>

#include <cmath>

#include "core/watched_file_system.h"
#include "formats/readers.h"
#include "onecycle/error.h"
#include "store/run_folders.h"
#include "train/learner_core.h"
#include "train/log_rows.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

namespace fs = std::filesystem;
using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_dataset;
using testing::tiny_options;
using testing::without_times;

void expect_equal_runs(const std::string& run, const std::string& other) {
    for (const char* file : {"/steps.csv", "/latest", "/best"})
        EXPECT_EQ(read_text(run + file), read_text(other + file)) << file;
    EXPECT_EQ(without_times(read_text(run + "/metrics.csv")),
              without_times(read_text(other + "/metrics.csv")));
    const std::string name = "/checkpoints/step-000006.safetensors";
    EXPECT_TRUE(read_text(run + name) == read_text(other + name)) << "the last checkpoint";
}

// What a kill after each step leaves: a checkpoint that is half written or just complete, the one
// before it, and rows that are newer.
class Resume : public ::testing::TestWithParam<TrainOptions> {};

TEST_P(Resume, at_every_step_is_bit_exact) {
    const TemporaryFolder folder;
    TrainOptions options = GetParam();
    options.checkpoint_every = 1;
    const std::string whole = folder / "whole";
    test::WatchedFileSystem disk;
    const auto copy_at = [&](const StepReport& report) {
        const std::lock_guard lock(disk.door);
        fs::copy(whole, folder / std::to_string(report.step), fs::copy_options::recursive);
    };
    {
        Learner learner(tiny_dataset(), options, {.on_step = copy_at});
        RunFolder run = RunFolders(disk).create(whole);
        EXPECT_TRUE(learner.fit({.run = &run}).finished());
    }
    // One learner continues them all: what it did before must not show. A run without a checkpoint
    // begins anew, as a process does.
    Learner used(tiny_dataset(), options);
    for (int step = 5; step > 0; --step) {
        SCOPED_TRACE("killed in step " + std::to_string(step));
        const std::string killed = folder / std::to_string(step);
        RunFolder run = RunFolder::open(killed);
        const bool begun = newest_valid_checkpoint(killed).has_value();
        const FitResult result =
            begun ? used.fit({.run = &run}) : Learner(tiny_dataset(), options).fit({.run = &run});
        EXPECT_TRUE(result.finished());
        EXPECT_EQ(result.epochs.size(), 2u);
        expect_equal_runs(killed, whole);
        fs::remove_all(killed);
    }
}

TrainOptions everything_on() {
    TrainOptions options = tiny_options();
    options.batch_size = 4;
    options.accumulate = 2;
    options.ema = 0.9;
    options.optimizer = OptimizerKind::adamw;
    options.max_lr = 0.003;
    options.clip_norm = 1;
    options.label_smoothing = 0.1;
    options.mixup = 0.4;
    options.cutmix = 1;
    return options;
}

// The third update is the last at the first size. By trust ratios.
TrainOptions progressive() {
    TrainOptions options = everything_on();
    options.optimizer = OptimizerKind::lamb;
    options.sizes = {{32, 1}, {48, 1}};
    options.size = 48;
    return options;
}

INSTANTIATE_TEST_SUITE_P(Options, Resume, ::testing::Values(tiny_options(), everything_on(), progressive()));

TEST(Stop, saves_and_is_resumed_to_the_same_bytes) {
    const TemporaryFolder folder;
    const std::string whole = folder / "whole", stopped = folder / "stopped";
    {
        Learner learner(tiny_dataset(), tiny_options());
        RunFolder run = RunFolder::create(whole);
        learner.fit({.run = &run});
    }
    // Stopped in mid-epoch, then at an epoch's end before its evaluation, then within the
    // evaluation.
    int left = 0;
    Observer observer{.stop = [&] { return left-- == 0 ? 2 : 0; }};
    Learner learner(tiny_dataset(), tiny_options(), observer);
    const auto fit_with_stop_after = [&](int questions, bool fresh = false) {
        left = questions;
        RunFolder run = fresh ? RunFolder::create(stopped) : RunFolder::open(stopped);
        return learner.fit({.run = &run});
    };
    FitResult result = fit_with_stop_after(1, true);
    EXPECT_EQ(result.signal, 2);
    EXPECT_EQ(result.step, 2);
    EXPECT_TRUE(result.checkpoint.ends_with("step-000002.safetensors"));
    result = fit_with_stop_after(0);
    EXPECT_EQ(result.step, 3);
    EXPECT_EQ(result.epochs.size(), 0u) << "a stop does not wait for an evaluation";
    result = fit_with_stop_after(0);
    EXPECT_EQ(result.signal, 2);
    EXPECT_EQ(result.epochs.size(), 0u) << "the evaluation was stopped";
    result = fit_with_stop_after(1000);
    EXPECT_TRUE(result.finished());
    EXPECT_EQ(result.epochs.size(), 2u);
    expect_equal_runs(stopped, whole);

    // A finished run has nothing left to do.
    const auto before = fs::last_write_time(whole + "/checkpoints/step-000006.safetensors");
    RunFolder run = RunFolder::open(whole);
    result = learner.fit({.run = &run});
    EXPECT_TRUE(result.finished());
    EXPECT_EQ(result.epochs.size(), 2u);
    EXPECT_FALSE(result.digest.empty());
    EXPECT_EQ(fs::last_write_time(whole + "/checkpoints/step-000006.safetensors"), before);
}

// The best epoch and what is kept for it stand in the checkpoint.
TEST(Resume, lost_or_shortened_logs_change_nothing_and_are_told) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_options();
    options.epochs = 3;
    const std::string whole = folder / "whole";
    test::WatchedFileSystem disk;
    const auto copy = [&](const StepReport& report) {
        const std::lock_guard lock(disk.door);
        if (report.step == 8) fs::copy(whole, folder / "killed", fs::copy_options::recursive);
    };
    FitResult expected;
    {
        Learner learner(tiny_dataset(), options, {.on_step = copy});
        RunFolder run = RunFolders(disk).create(whole);
        expected = learner.fit({.run = &run});
    }
    ASSERT_GT(newest_valid_checkpoint(folder / "killed").value().step, 0);
    for (const bool deleted : {true, false}) {
        SCOPED_TRACE(deleted);
        const std::string killed = folder / (deleted ? "deleted" : "shortened");
        fs::copy(folder / "killed", killed, fs::copy_options::recursive);
        for (const char* log : {"/steps.csv", "/metrics.csv"}) {
            if (deleted)
                fs::remove(killed + log);
            else
                fs::resize_file(killed + log, read_text(killed + log).find('\n') + 3);
        }
        std::string lines;
        Learner learner(tiny_dataset(), options,
                        {.log = [&](LogLevel, const std::string& line) { lines += line + '\n'; }});
        RunFolder run = RunFolder::open(killed);
        const FitResult result = learner.fit({.run = &run});
        EXPECT_TRUE(result.finished());
        EXPECT_EQ(result.best_epoch, expected.best_epoch);
        EXPECT_EQ(result.digest, expected.digest);
        EXPECT_EQ(read_text(killed + "/best"), read_text(whole + "/best"));
        EXPECT_NE(lines.find("steps.csv lacks the rows of"), std::string::npos) << lines;
        EXPECT_NE(lines.find("metrics.csv lacks the rows of"), std::string::npos) << lines;
    }
}

TEST(Resume, rows_of_metrics_are_read_up_to_the_first_that_is_none) {
    const auto rows = parse_metrics(
        "epoch,train_loss,valid_loss,accuracy,lr,images_per_second,seconds\n"
        "0,1.5,1.25,0.5,0.01,100.0,2.50\n1,,,,0.01,90.0,2\n2,7\nnan,1,1,1,1,1,1\n4,1,1,1,1,1,1\n");
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows[0].valid_loss, 1.25);
    EXPECT_EQ(rows[0].seconds, 2.5);
    EXPECT_FALSE(rows[1].evaluated);
    EXPECT_EQ(rows[1].lr, 0.01);
    EXPECT_EQ(rows[2].train_loss, 7);
    EXPECT_TRUE(std::isnan(rows[2].lr)) << "a short row takes nothing of the next";
    for (const char* none : {"", "epoch", "epoch\n", "\n", "\n-1,2", "\n1e300"})
        EXPECT_LE(parse_metrics(none).size(), 1u) << none;
}

TEST(Resume, before_the_first_checkpoint_begins_anew) {
    const TemporaryFolder folder;
    Learner learner(tiny_dataset(), tiny_options());
    const std::string path = folder / "run";
    RunFolder::create(path).write("config.json", to_json(learner.options()));
    RunFolder run = RunFolder::open(path);
    EXPECT_TRUE(learner.fit({.run = &run}).finished());
}

// The emulated device plans nothing, so the plans are put into the book here, as a GPU's back end
// does.
TEST(Resume, a_checkpoint_keeps_the_convolution_plans_and_who_continues_it_prefers_them) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_options();
    options.epochs = 1;
    int left = 1;
    std::string record;
    {
        LearnerCore core(tiny_dataset(), options, {.stop = [&] { return left-- == 0 ? 2 : 0; }});
        core.engine.plans->use("H200, cuDNN 9.19.0", "conv a", "engine 1:");
        record = core.engine.plans->text();
        RunFolder run = RunFolder::create(folder / "run");
        EXPECT_EQ(run_fit(core, {.run = &run}).step, 2);
        const SafetensorsFile file(newest_valid_checkpoint(folder / "run").value().path);
        EXPECT_EQ(file.metadata().at("convolution_plans"), record);
    }
    LearnerCore core(tiny_dataset(), options, {});
    RunFolder run = RunFolder::open(folder / "run");
    const FitResult result = run_fit(core, {.run = &run});
    EXPECT_TRUE(result.finished());
    EXPECT_EQ(core.engine.plans->preferred("H200, cuDNN 9.19.0", "conv a"), "engine 1:");
    EXPECT_EQ(SafetensorsFile(result.checkpoint).metadata().count("convolution_plans"), 0u) << "none in use";

    Learner whole(tiny_dataset(), options);
    RunFolder other = RunFolder::create(folder / "other");
    whole.fit({.run = &other});
    EXPECT_EQ(result.digest, SafetensorsFile(folder / "other/checkpoints/step-000003.safetensors").digest())
        << "compiled anew, it computes the same";
}

// With fp16 the loss scale belongs to the state: at its start it is too large, so that steps are
// repeated.
TEST(Resume, on_emulated_cuda_is_bit_exact_too) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_options();
    options.batch_size = 10;
    options.epochs = 1;
    options.device = "emulated";
    options.precision = "fp16";
    options.input = "stream";  // test_resident_training continues from images on the device
    options.mixup = 0.4;
    options.cutmix = 1;
    int left = -1;
    const auto fit = [&](const std::string& path, int stop_after) {
        left = stop_after;
        Learner learner(tiny_dataset(), options, {.stop = [&] { return left-- == 0 ? 2 : 0; }});
        RunFolder run =
            stop_after >= 0 || !fs::exists(path) ? RunFolder::create(path) : RunFolder::open(path);
        return learner.fit({.run = &run});
    };
    const FitResult whole = fit(folder / "whole", -1);
    EXPECT_EQ(fit(folder / "stopped", 1).step, 2);
    EXPECT_EQ(fit(folder / "stopped", -1).digest, whole.digest);
    EXPECT_EQ(read_text(folder / "stopped/steps.csv"), read_text(folder / "whole/steps.csv"));
}

TEST(Resume, refuses_what_would_change_the_result_by_name) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_options();
    options.epochs = 1;
    {
        Learner learner(tiny_dataset(), options);
        RunFolder run = RunFolder::create(folder / "run");
        learner.fit({.run = &run});
    }
    RunFolder run = RunFolder::open(folder / "run");
    const auto expect_error = [&](const Dataset& dataset, const TrainOptions& changed, int code,
                                  const std::string& part) {
        Learner learner(dataset, changed);
        try {
            learner.fit({.run = &run});
            ADD_FAILURE() << "should be refused: " << part;
        } catch (const Error& error) {
            EXPECT_EQ(error.exit_code(), code);
            EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
        }
    };
    TrainOptions longer = options;
    longer.epochs = 2;
    longer.label_smoothing = 0.1;
    longer.mixup = 0.4;
    longer.cutmix = 1;
    expect_error(tiny_dataset(), longer, 2,
                 "--epochs, --label-smoothing, --mixup, --cutmix would change the result");
    Dataset smaller = tiny_dataset();
    smaller.train.pop_back();
    expect_error(smaller, options, 3, "its images are not those that the run began with");
}

}  // namespace
}  // namespace onecycle
