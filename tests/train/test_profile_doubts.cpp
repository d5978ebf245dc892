// When a profile says that it cannot be trusted.
#include <gtest/gtest.h>

#include "train/profile.h"

namespace onecycle {
namespace {

Profile quiet() {
    Profile p;
    p.whole.emplace();
    p.before = p.after = p.limits = Limits{1e10, 1e11, ""};
    p.load = MachineLoad{0.02, 4};
    p.steps.push_back({.operation = "conv2d", .limit = 0.6, .seconds = 1.0});
    p.steps.push_back({.operation = "add", .limit = 0.002, .seconds = 0.001});
    return p;
}

TEST(ProfileDoubts, a_quiet_machine_gives_none) {
    EXPECT_TRUE(quiet().doubts().empty());
}

TEST(ProfileDoubts, other_programs_matter_where_they_take_processors_that_are_not_free) {
    Profile p = quiet();
    p.load = MachineLoad{1.5, 4};
    EXPECT_TRUE(p.doubts().empty());
    p.load = MachineLoad{3.5, 4};
    ASSERT_EQ(p.doubts().size(), 1u);
    EXPECT_EQ(p.doubts()[0], "other programs used 3.5 of the 4 processors meanwhile");
}

TEST(ProfileDoubts, limits_that_moved_and_shares_above_one_are_named) {
    Profile p = quiet();
    p.after->bytes_per_second = 0.8e10;
    ASSERT_EQ(p.doubts().size(), 1u);
    EXPECT_NE(p.doubts()[0].find("differ: 10.0 and 8.0 GB/s"), std::string::npos) << p.doubts()[0];
    p = quiet();
    p.steps[0].limit = 1.2;
    ASSERT_EQ(p.doubts().size(), 1u);
    EXPECT_EQ(p.doubts()[0], "shares pass 100 %: conv2d 120 %") << "not the add: it takes no time";
}

TEST(ProfileDoubts, a_prediction_and_the_emulator_compare_with_nothing) {
    Profile p = quiet();
    p.load = MachineLoad{4, 4};
    p.comparable = false;
    EXPECT_TRUE(p.doubts().empty());
    p = quiet();
    p.whole.reset();
    EXPECT_TRUE(p.doubts().empty());
}

TEST(MachineLoad, busy_time_is_all_but_idle_and_waiting) {
    EXPECT_EQ(busy_seconds("cpu  100 20 30 5000 7 1 2 40 11 0\ncpu0 1 1 1 1\n", 100), 1.93);
    EXPECT_FALSE(busy_seconds("", 100));
    EXPECT_FALSE(busy_seconds("intr 1 2 3 4 5 6 7 8", 100));
}

}  // namespace
}  // namespace onecycle
