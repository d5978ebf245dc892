// A run folder's life without its training, in memory and on the disk.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/simulated_file_system.h"
#include "formats/readers.h"
#include "formats/safetensors_writer.h"
#include "onecycle/error.h"
#include "store/run_folders.h"
#include "temporary_folder.h"

namespace onecycle::test {

// A training small enough to be run thousands of times: the state is a function of the step, a row
// is logged for each update, and the state is saved after every second update.
inline constexpr std::int64_t last_step = 8, save_every = 2;
inline constexpr const char* header = "step,loss";

inline std::int64_t best_of(std::int64_t step) {
    return step < 4 ? 2 : 4;
}

inline void save(RunFolder& run, std::int64_t step) {
    const std::vector<float> state(3, static_cast<float>(step));
    run.save(step, {{float_tensor("weight", {3}, state)}, {{"classes", "[]"}}}, best_of(step));
}

// Runs from the newest checkpoint to the end; where it had not begun, the same command begins it.
// Tells of each save that returned.
inline void train(SimulatedFileSystem& fs, std::int64_t* saved = nullptr) {
    const bool started = fs.has("run/config.json");
    RunFolder run = started ? RunFolders(fs).open("run") : RunFolders(fs).create("run");
    if (!started) run.write("config.json", "{}");
    const auto newest = RunFolders(fs).newest_valid_checkpoint("run");
    const std::int64_t first = newest ? newest->step : 0;
    CsvLog& log = run.steps_log(header);
    log.keep_below(first);
    for (std::int64_t step = first; step < last_step; ++step) {
        log.append(std::to_string(step) + ",0.5");
        if ((step + 1) % save_every == 0) {
            save(run, step + 1);
            if (saved != nullptr) *saved = step + 1;
        }
    }
}

inline void train_until_power_loss(SimulatedFileSystem& fs, std::int64_t& saved) {
    try {
        train(fs, &saved);
    } catch (const Error&) {
    }
}

// All that a run left, by path; without the lock.
inline std::map<std::string, std::string> contents(SimulatedFileSystem& fs) {
    std::map<std::string, std::string> all;
    for (const std::string& path : fs.paths()) {
        FileStatus status;
        fs.status(path, status);
        if (status.type == FileStatus::Type::regular && path != "run/.lock") all[path] = read_file(fs, path);
    }
    return all;
}

inline std::string target_of(SimulatedFileSystem& fs, const std::string& pointer) {
    const std::string text = read_file(fs, pointer);
    return "run/checkpoints/" + text.substr(0, text.find('\n'));
}

inline std::string names(SimulatedFileSystem& fs) {
    std::string all;
    for (const auto& file : contents(fs)) all += file.first.substr(4) + ' ';
    return all;
}

class OnDisk : public testing::Test {
  protected:
    template <class Action>
    void expect_error(ErrorKind kind, const std::string& words, Action action) {
        try {
            action();
            ADD_FAILURE() << "no error: " << words;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
        }
    }

    const TemporaryFolder temporary_;
    const std::string folder_ = temporary_.path();
};

}  // namespace onecycle::test
