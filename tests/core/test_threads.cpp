#include "core/threads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <vector>

namespace onecycle {
namespace {

TEST(Threads, every_index_comes_once_for_any_number_of_threads) {
    for (const int threads : {0, 1, 3, 64})
        for (const std::size_t n : {0, 1, 2, 1000}) {
            std::vector<std::atomic<int>> visits(n);
            for_each_index(n, threads, [&](std::size_t i) { ++visits.at(i); });
            for (const auto& count : visits) EXPECT_EQ(count, 1);
        }
}

TEST(Threads, what_a_piece_throws_reaches_the_caller_and_ends_the_work) {
    std::atomic<int> done{0};
    EXPECT_THROW(for_each_index(1'000'000, 3,
                                [&](std::size_t i) {
                                    if (i == 5) throw std::runtime_error("five");
                                    ++done;
                                }),
                 std::runtime_error);
    EXPECT_LT(done, 999'999);
}

TEST(Threads, as_many_as_are_wanted_are_to_be_had_here_and_never_fewer_than_one) {
    for (const int wanted : {-1, 0, 1, 2, 17}) EXPECT_EQ(threads_to_be_had(wanted), std::max(wanted, 1));
}

}  // namespace
}  // namespace onecycle
