// The memory of a training is added up before its first step; what is advised fits.
#include <gtest/gtest.h>

#include <charconv>

#include "onecycle/error.h"
#include "train/learner_core.h"
#include "train/memory_need.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::tiny_dataset;
using testing::tiny_options;

TrainOptions options_of(const char* device, int batch) {
    TrainOptions options = tiny_options();
    options.device = device;
    options.batch_size = batch;
    options.size = 48;
    return options;
}

// The batch size in `fix: --batch-size N`; 0: none.
int advised(const std::string& error) {
    const std::string key = "fix: --batch-size ";
    const std::size_t at = error.find(key);
    int batch = 0;
    if (at != std::string::npos)
        std::from_chars(error.data() + at + key.size(), error.data() + error.size(), batch);
    return batch;
}

class MemoryOn : public ::testing::TestWithParam<const char*> {};

TEST_P(MemoryOn, what_is_advised_fits_into_what_was_free) {
    const LearnerCore large(tiny_dataset(), options_of(GetParam(), 24), {});
    const MemoryNeed need = memory_need(large);
    const std::uint64_t to_come = need.total() - need.state;
    EXPECT_GT(need.programs, 0u);
    EXPECT_GT(need.state, need.copies);
    EXPECT_NO_THROW(check_memory(large, to_come));
    EXPECT_NO_THROW(check_memory(large, UINT64_MAX)) << "where the system does not say";
    int last = 24;
    for (const double share : {0.9, 0.6}) {
        const std::uint64_t fixed = to_come - need.programs - need.batches;
        const auto free = fixed + static_cast<std::uint64_t>(share * static_cast<double>(to_come - fixed));
        try {
            check_memory(large, free);
            ADD_FAILURE() << share;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::device);
            const int batch = advised(error.what());
            ASSERT_GE(batch, 2) << error.what();
            EXPECT_LT(batch, last) << error.what();
            last = batch;
            const LearnerCore fits(tiny_dataset(), options_of(GetParam(), batch), {});
            EXPECT_NO_THROW(check_memory(fits, free)) << error.what();
        }
    }
}

TEST_P(MemoryOn, where_no_batch_fits_something_else_is_advised) {
    const LearnerCore core(tiny_dataset(), options_of(GetParam(), 8), {});
    try {
        check_memory(core, 1 << 20);
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_EQ(advised(error.what()), 0);
        EXPECT_NE(std::string(error.what()).find("a smaller --size"), std::string::npos) << error.what();
    }
}

INSTANTIATE_TEST_SUITE_P(Devices, MemoryOn, ::testing::Values("cpu", "emulated"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace onecycle
