// Checkpoints are written beside training: it does not wait for the disk, and no failure of the
// disk goes unheard.
#include "nn/network_of.h"
#include "train/checkpoint_writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <thread>

#include "core/watched_file_system.h"
#include "formats/readers.h"
#include "onecycle/error.h"
#include "store/run_folders.h"
#include "train/engine.h"
#include "train/tiny.h"
#include "train/train_step.h"

namespace onecycle {
namespace {

namespace fs = std::filesystem;
using test::WatchedFileSystem;
using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_dataset;
using testing::tiny_options;

bool ends_with_step(const std::string& path, int step) {
    return path.find("step-00000" + std::to_string(step)) != std::string::npos;
}

// Opens once, for all who wait.
class Gate {
  public:
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        opened_.notify_all();
    }
    // False when it stays shut for so long that nobody will open it.
    bool wait() {
        std::unique_lock lock(mutex_);
        return opened_.wait_for(lock, std::chrono::seconds(120), [&] { return open_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable opened_;
    bool open_ = false;
};

std::map<std::string, std::string> contents(const std::string& run) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(run))
        if (entry.is_regular_file() && entry.path().filename() != ".lock" &&
            entry.path().filename() != "metrics.csv")
            files[fs::relative(entry.path(), run)] = read_text(entry.path());
    return files;
}

TEST(Checkpoints, an_epoch_passes_while_the_disk_holds_up_the_checkpoint_before_it) {
    const TemporaryFolder folder;
    WatchedFileSystem disk;
    Gate last_step;
    std::atomic<bool> passed{true};
    disk.before = [&](const std::string& call, const std::string& path) {
        if (call == "sync" && ends_with_step(path, 3)) passed = last_step.wait();
        return 0;
    };
    const std::string path = folder / "run";
    const auto on_step = [&](const StepReport& report) {
        if (report.step != 5) return;
        EXPECT_FALSE(fs::exists(path + "/latest")) << "points to a checkpoint that is not durable";
        EXPECT_FALSE(fs::exists(path + "/checkpoints/step-000003.safetensors"));
        last_step.open();
    };
    {
        Learner learner(tiny_dataset(), tiny_options(), {.on_step = on_step});
        RunFolder run = RunFolders(disk).create(path);
        const FitResult result = learner.fit({.run = &run});
        EXPECT_TRUE(passed) << "training waited for the disk";
        EXPECT_TRUE(result.checkpoint.ends_with("step-000006.safetensors")) << result.checkpoint;
        EXPECT_EQ(result.digest, SafetensorsFile(result.checkpoint).digest());
    }
    Learner learner(tiny_dataset(), tiny_options());
    RunFolder run = RunFolder::create(folder / "undisturbed");
    learner.fit({.run = &run});
    EXPECT_TRUE(contents(path) == contents(folder / "undisturbed"));
}

TEST(Checkpoints, a_disk_that_fails_stops_training_where_that_is_asked_for_and_keeps_what_was_saved) {
    for (const std::string call : {"write_at", "sync"}) {
        SCOPED_TRACE(call);
        const TemporaryFolder folder;
        WatchedFileSystem disk;
        disk.before = [&](const std::string& name, const std::string& path) {
            return name == call && ends_with_step(path, 2) ? -ENOSPC : 0;
        };
        TrainOptions options = tiny_options();
        options.checkpoint_every = 1;
        options.save_errors = SaveErrors::stop;
        Learner learner(tiny_dataset(), options);
        {
            RunFolder run = RunFolders(disk).create(folder / "run");
            try {
                learner.fit({.run = &run});
                FAIL() << "nobody heard of it";
            } catch (const Error& error) {
                EXPECT_EQ(error.exit_code(), 5);
                EXPECT_NE(std::string(error.what()).find("no space left on the device"), std::string::npos);
            }
        }
        EXPECT_EQ(newest_valid_checkpoint(folder / "run").value().step, 1);
        for (const auto& [name, text] : contents(folder / "run"))
            EXPECT_FALSE(name.ends_with(".tmp")) << name;
        RunFolder run = RunFolder::open(folder / "run");
        EXPECT_TRUE(learner.fit({.run = &run}).finished());
    }
}

TEST(Checkpoints, a_disk_that_fails_for_a_while_is_told_of_once_and_does_not_end_a_training) {
    for (const int code : {ENOSPC, EIO, EDQUOT, ESTALE}) {
        SCOPED_TRACE(code);
        const TemporaryFolder folder;
        WatchedFileSystem disk;
        std::atomic<bool> broken{false};
        disk.before = [&](const std::string& name, const std::string& path) {
            return broken && name == "write_at" && path.find(".lock") == std::string::npos ? -code : 0;
        };
        TrainOptions options = tiny_options();
        options.checkpoint_every = 1;
        int warnings = 0;
        Learner learner(
            tiny_dataset(), options,
            {.on_step = [&](const StepReport& report) { broken = report.step >= 1 && report.step < 5; },
             .log =
                 [&](LogLevel level, const std::string& line) {
                     if (level == LogLevel::warning && line.find("training goes on") != line.npos) ++warnings;
                 }});
        {
            RunFolder run = RunFolders(disk).create(folder / "run");
            EXPECT_TRUE(learner.fit({.run = &run}).finished());
        }
        EXPECT_GE(warnings, 1);
        EXPECT_LE(warnings, 2) << "of a checkpoint, and of the logs";
        Learner other(tiny_dataset(), options);
        RunFolder run = RunFolder::create(folder / "undisturbed");
        other.fit({.run = &run});
        const std::string last = "checkpoints/step-000006.safetensors";
        for (const std::string& name :
             {last, std::string("steps.csv"), std::string("latest"), std::string("best")})
            EXPECT_EQ(read_text(folder / ("run/" + name)).substr(0, 300),
                      read_text(folder / ("undisturbed/" + name)).substr(0, 300))
                << name;
    }
}

TEST(Checkpoints, a_run_folder_that_is_deleted_or_moved_ends_the_training_at_the_next_step) {
    for (const bool moved : {false, true}) {
        SCOPED_TRACE(moved);
        const TemporaryFolder folder;
        std::int64_t last = 0;
        Learner learner(tiny_dataset(), tiny_options(), {.on_step = [&](const StepReport& report) {
                            last = report.step;
                            if (report.step != 2) return;
                            if (moved)
                                fs::rename(folder / "run", folder / "elsewhere");
                            else
                                fs::remove_all(folder / "run");
                        }});
        RunFolder run = RunFolder::create(folder / "run");
        try {
            learner.fit({.run = &run});
            FAIL() << "nobody noticed";
        } catch (const Error& error) {
            EXPECT_EQ(error.exit_code(), 5);
            EXPECT_NE(std::string(error.what()).find("deleted or moved"), std::string::npos) << error.what();
        }
        EXPECT_LE(last, 3);
        EXPECT_FALSE(fs::exists(folder / "run")) << "it was made again";
    }
}

TEST(Checkpoints, the_last_one_that_fails_is_heard_of_too) {
    const TemporaryFolder folder;
    WatchedFileSystem disk;
    disk.before = [](const std::string& name, const std::string& path) {
        return name == "sync" && ends_with_step(path, 6) ? -EIO : 0;
    };
    Learner learner(tiny_dataset(), tiny_options());
    RunFolder run = RunFolders(disk).create(folder / "run");
    EXPECT_THROW(learner.fit({.run = &run}), Error);
}

// A state without a training.
struct Machine {
    Engine engine = make_engine("cpu", "fp32", 1);
    Network network = network_of({.arch = "resnet18", .classes = 3, .size = 32});
    State state{*engine.device, network, StateLayout(network, *engine.backend, false), {}};

    Machine() { state.initialise(1); }
    void at_update(std::int64_t update, std::int32_t stop = 0) {
        StepControl control{};
        control.update = update;
        control.stop = stop;
        state.write_control(control);
    }
};

TEST(CheckpointWriter, a_state_that_diverged_or_is_not_the_one_asked_for_is_never_written) {
    const TemporaryFolder folder;
    Machine machine;
    RunFolder run = RunFolder::create(folder / "run");
    CheckpointWriter writer(machine.state, run, {});
    const auto save = [&](std::int64_t step) {
        writer.save({.step = step, .batches = step});
        writer.finish();
    };
    machine.at_update(3, stop_not_finite);
    save(3);
    machine.at_update(2);  // an update that was skipped
    save(3);
    EXPECT_FALSE(fs::exists(folder / "run/checkpoints"));
    EXPECT_EQ(writer.step(), 0);

    machine.at_update(3);
    auto weights = machine.state.weights();
    weights.at("fc.bias").values[1] = std::numeric_limits<float>::infinity();
    machine.state.set_weights(weights);
    try {
        save(3);
        FAIL() << "an infinite weight was written";
    } catch (const NotFinite& bad) {
        EXPECT_EQ(bad.update, 2) << "the third, counted from 0, as a step of steps.csv";
        EXPECT_EQ(bad.tensor, "fc.bias");
    }
    EXPECT_FALSE(fs::exists(folder / "run/checkpoints"));

    machine.state.initialise(1);
    save(3);
    EXPECT_EQ(writer.step(), 3);
    EXPECT_TRUE(fs::exists(folder / "run/checkpoints/step-000003.safetensors"));
}

TEST(CheckpointWriter, writes_the_state_of_the_moment_whatever_happens_to_it_afterwards) {
    const TemporaryFolder folder;
    Machine machine;
    WatchedFileSystem disk;
    Gate changed;
    disk.before = [&](const std::string& call, const std::string& path) {
        if (call == "create_exclusive" && ends_with_step(path, 1)) {
            EXPECT_TRUE(changed.wait());
        }
        return 0;
    };
    RunFolder run = RunFolders(disk).create(folder / "run");
    CheckpointWriter writer(machine.state, run, {});
    machine.at_update(1);
    writer.save({.step = 1});
    const auto weights = machine.state.weights();
    machine.state.initialise(2);
    machine.at_update(2, stop_not_finite);
    changed.open();
    writer.finish();
    const SafetensorsFile file(folder / "run/checkpoints/step-000001.safetensors");
    for (const auto& [name, tensor] : weights) EXPECT_EQ(file.read_floats(name), tensor.values) << name;
}

TEST(CheckpointWriter, tries_again_from_the_same_copy_after_pauses_that_grow) {
    using Clock = std::chrono::steady_clock;
    const TemporaryFolder folder;
    Machine machine;
    WatchedFileSystem disk;
    std::atomic<int> tries{0};
    std::vector<Clock::time_point> times;
    disk.before = [&](const std::string& call, const std::string& path) {
        if (call != "create_exclusive" || !ends_with_step(path, 1)) return 0;
        times.push_back(Clock::now());
        return ++tries <= 2 ? -ESTALE : 0;
    };
    RunFolder run = RunFolders(disk).create(folder / "run");
    std::vector<std::string> lines;
    CheckpointWriter writer(
        machine.state, run, [&](LogLevel, const std::string& line) { lines.push_back(line); }, {},
        SaveErrors::go_on);
    machine.at_update(1);
    writer.save({.step = 1});
    machine.at_update(2);  // training goes on
    while (writer.step() == 0 && tries <= 3) {
        writer.check();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_EQ(writer.step(), 1);
    ASSERT_EQ(times.size(), 3u);
    EXPECT_GE(times[1] - times[0], std::chrono::seconds(1));
    EXPECT_GE(times[2] - times[1], std::chrono::seconds(2));
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_NE(lines[0].find("training goes on"), std::string::npos) << lines[0];
    EXPECT_EQ(lines[1], "saving works again");
    EXPECT_NO_THROW(SafetensorsFile(folder / "run/checkpoints/step-000001.safetensors").verify());
}

TEST(CheckpointWriter, tells_of_old_files_that_cannot_be_deleted_on_the_thread_that_asks) {
    const TemporaryFolder folder;
    Machine machine;
    WatchedFileSystem disk;
    disk.before = [](const std::string& call, const std::string&) { return call == "unlink" ? -EACCES : 0; };
    RunFolder run = RunFolders(disk).create(folder / "run");
    int lines = 0;
    const auto log = [&, here = std::this_thread::get_id()](LogLevel, const std::string& line) {
        EXPECT_EQ(std::this_thread::get_id(), here);
        EXPECT_NE(line.find("cannot delete"), std::string::npos) << line;
        ++lines;
    };
    CheckpointWriter writer(machine.state, run, log);
    for (std::int64_t step : {1, 2, 3}) {
        machine.at_update(step);
        writer.save({.step = step});
    }
    writer.finish();
    EXPECT_EQ(lines, 1);
}

}  // namespace
}  // namespace onecycle
