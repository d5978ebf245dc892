#include "train/memory_need.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "onecycle/error.h"
#include "tiny.h"
#include "train/learner_core.h"

namespace onecycle::testing {
namespace {

LearnerCore core_of(TrainOptions options, const Architecture& arch) {
    return LearnerCore(tiny_dataset(), options, {}, arch);
}

// What the learner says to so much free memory; empty: enough.
std::string answer(const LearnerCore& core, std::uint64_t free) {
    try {
        require_memory(core, memory_need(core, core.step.batch()), free);
        return "";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), 7);
        return error.what();
    }
}

// 0: the message names none.
int advised(const std::string& message) {
    std::smatch found;
    return std::regex_search(message, found, std::regex("fix: --batch-size (\\d+)")) ? std::stoi(found[1])
                                                                                     : 0;
}

void expect_that_the_advice_fits(const TrainOptions& options, const Architecture& arch) {
    const LearnerCore core = core_of(options, arch);
    const std::uint64_t whole = memory_need(core, core.step.batch()).total();
    EXPECT_EQ(answer(core, whole), "");
    const std::uint64_t least = memory_need(core, 2).total();
    for (const std::uint64_t free : {whole - 1, least + (whole - least) / 2}) {
        const std::string message = answer(core, free);
        const int batch = advised(message);
        ASSERT_GE(batch, 2) << message;
        ASSERT_LT(batch, core.step.batch());
        TrainOptions smaller = options;
        smaller.batch_size = batch;
        EXPECT_EQ(answer(core_of(smaller, arch), free), "") << message;
        // One more would leave less than the margin.
        EXPECT_GT(memory_need(core, batch + 1).total(), free - free / 32) << message;
    }
    const std::string none = answer(core, least / 2);
    EXPECT_EQ(advised(none), 0) << none;
    EXPECT_NE(none.find("--size"), std::string::npos) << none;
}

TEST(MemoryNeed, names_the_largest_batch_size_that_fits) {
    TrainOptions options = tiny_options();
    options.batch_size = 30;
    expect_that_the_advice_fits(options, tiny_architecture());
}

TEST(MemoryNeed, names_the_largest_batch_size_that_fits_on_the_emulated_device) {
    TrainOptions options = tiny_options();
    options.batch_size = 30;
    options.device = "emulated";
    options.input = "stream";
    expect_that_the_advice_fits(options, tiny_architecture());
}

TEST(MemoryNeed, counts_the_stage_that_trains_everything) {
    TrainOptions options = tiny_options();
    options.freeze_epochs = 1;
    const LearnerCore staged = core_of(options, tiny_architecture());
    const LearnerCore whole = core_of(tiny_options(), tiny_architecture());
    EXPECT_GE(memory_need(staged, 8).arena, whole.step.arena_bytes());
}

TEST(MemoryNeed, is_at_least_what_was_allocated) {
    const LearnerCore core = core_of(tiny_options(), tiny_architecture());
    std::uint64_t arenas = 0;
    for (const auto& arena : core.arenas) arenas += arena->size();
    const MemoryNeed need = memory_need(core, core.step.batch());
    EXPECT_GE(need.arena, arenas);
    EXPECT_GE(need.state, core.state.bytes(Space::parameters) + core.state.bytes(Space::moment1));
    EXPECT_EQ(need.copies, need.state);
    EXPECT_GE(need.batches, 2u * 8 * 32 * 32 * 3);
    EXPECT_GE(need.decoding, 3u * 40 * 40);
}

}  // namespace
}  // namespace onecycle::testing
