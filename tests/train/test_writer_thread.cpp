// The loop and the thread that writes its checkpoints share a run folder and its logs. Built with
// the thread sanitizer (preset tsan) this finds what they would do to each other.
#include <gtest/gtest.h>

#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_architecture;
using testing::tiny_dataset;
using testing::tiny_options;

// OpenMP's own waits are not seen by the sanitizer: one thread has none.
TrainOptions one_thread() {
    TrainOptions options = tiny_options();
    options.epochs = 1;
    options.threads = 1;
    return options;
}

std::string fit_into(const std::string& path, const TrainOptions& options, int stop_after = -1) {
    Learner learner(tiny_dataset(), options, {.stop = [&] { return stop_after-- == 0 ? 2 : 0; }},
                    tiny_architecture());
    RunFolder run = std::filesystem::exists(path) ? RunFolder::open(path) : RunFolder::create(path);
    return learner.fit({.run = &run}).digest;
}

TEST(WriterThread, a_run_that_is_saved_after_each_update_ends_as_one_that_is_saved_once) {
    const TemporaryFolder folder;
    TrainOptions options = one_thread();
    const std::string once = fit_into(folder / "once", options);
    options.checkpoint_every = 1;
    // Stopped in mid-epoch, so that the last checkpoint is read back, too.
    fit_into(folder / "each", options, 1);
    EXPECT_EQ(read_text(folder / "each/latest"), "step-000002.safetensors\n");
    EXPECT_EQ(fit_into(folder / "each", options), once);
    EXPECT_EQ(read_text(folder / "each/steps.csv"), read_text(folder / "once/steps.csv"));
}

}  // namespace
}  // namespace onecycle
