// What is predicted of several ranks, by hand.
#include "train/ranks_forecast.h"

#include <gtest/gtest.h>

#include "onecycle/error.h"

namespace onecycle {
namespace {

constexpr Links links{.inside = 100e9, .between = 10e9, .inside_hop = 1e-6, .between_hop = 10e-6, .node = 4};

TEST(AllReduce, in_a_node_is_a_ring_twice_round) {
    EXPECT_EQ(all_reduce_time(links, 1, 8e6).seconds, 0);
    EXPECT_NEAR(all_reduce_time(links, 2, 8e6).seconds, 2 * (40e-6 + 1e-6), 1e-12);
    EXPECT_NEAR(all_reduce_time(links, 4, 8e6).seconds, 6 * (20e-6 + 1e-6), 1e-12);
    EXPECT_EQ(all_reduce_time(links, 4, 8e6).between, "");
}

TEST(AllReduce, between_nodes_moves_a_share_for_each_rank_of_a_node) {
    const AllReduceTime two = all_reduce_time(links, 8, 8e6);
    EXPECT_NEAR(two.seconds, 6 * (20e-6 + 1e-6) + 2 * (100e-6 + 10e-6), 1e-12);
    EXPECT_EQ(two.between, "ring");
    const AllReduceTime many = all_reduce_time(links, 4 * 256, 8e6);
    EXPECT_EQ(many.between, "tree") << "a ring of 256 would take 510 hops";
    EXPECT_LT(many.seconds, 2e-3);
    EXPECT_GT(many.seconds, 6 * 21e-6 + 2 * 2e6 / 10e9) << "every byte is sent and received twice";
}

// A step of 4 ms before the update and 1 ms of update; its gradients are ready after 3 and 4 ms.
Profile made_up() {
    Profile profile;
    profile.options.train.batch_size = 10;
    profile.limits = {1e15, 1e15, "made up"};  // sums take nothing of the memory
    profile.steps = {{.phase = "forward", .limit = 1e-3},
                     {.phase = "loss", .limit = 0},
                     {.phase = "backward", .limit = 2e-3},
                     {.phase = "backward", .limit = 1e-3},
                     {.phase = "update", .limit = 1e-3}};
    profile.gradients = {{"gradients", 0, 40'000'000, 2}, {"gradients", 40'000'000, 4'000'000, 3}};
    return profile;
}

TEST(Forecast, what_arrives_after_the_backward_pass_is_waited_for) {
    const ScaleForecast all = forecast_ranks(made_up(), {.ranks = {1, 2}, .links = links});
    const RanksForecast &one = all.ranks[0], &two = all.ranks[1];
    EXPECT_NEAR(one.step, 5e-3, 1e-12);
    EXPECT_EQ(one.exposed, 0);
    EXPECT_NEAR(one.images_per_second, 2000, 1e-6);
    EXPECT_EQ(one.efficiency, 1);
    // The second bucket is ready at 4 ms and takes 42 us; the first was sent from 3 ms on in 402 us.
    EXPECT_NEAR(two.starts.back(), 4e-3, 2e-7);
    EXPECT_NEAR(two.exposed, 42e-6, 2e-7);
    EXPECT_NEAR(two.step, 5.042e-3, 2e-7);
    EXPECT_NEAR(two.efficiency, 5 / 5.042, 1e-4);
    EXPECT_NEAR(two.images_per_second, 20 / 5.042e-3, 1);
}

TEST(Forecast, a_bucket_waits_for_the_one_before_it) {
    Links slow = links;
    slow.inside = 20e9;
    const ScaleForecast all = forecast_ranks(made_up(), {.ranks = {2}, .links = slow});
    EXPECT_NEAR(all.ranks[0].starts.back(), 3e-3 + 2.002e-3, 1e-7);
    EXPECT_NEAR(all.ranks[0].step, 3e-3 + 2.002e-3 + 0.202e-3 + 1e-3, 1e-7);
}

TEST(Forecast, buckets_are_closed_at_8_MiB_and_wait_for_their_last_gradient) {
    Profile profile = made_up();
    profile.gradients.clear();
    for (int i = 0; i < 10; ++i)
        profile.gradients.push_back(
            {"half_gradients", static_cast<std::size_t>(i) * 3'000'000, 3'000'000, i < 4 ? 2 : 3});
    profile.statistics_bytes = 100;
    const std::vector<Transfer> transfers = transfers_of(profile);
    std::vector<std::size_t> bytes;
    std::vector<int> ready;
    for (const Transfer& t : transfers) {
        if (t.what != "half_gradients") continue;
        bytes.push_back(t.bytes);
        ready.push_back(t.ready_step);
    }
    EXPECT_EQ(bytes, (std::vector<std::size_t>{9'000'000, 9'000'000, 9'000'000, 3'000'000}));
    EXPECT_EQ(ready, (std::vector<int>{2, 3, 3, 3}));
    EXPECT_EQ(transfers[0].what, "statistics") << "of the forward pass";
    EXPECT_EQ(transfers[1].what, "result");
}

TEST(Forecast, of_a_network_sums_every_gradient_that_is_trained_and_no_other) {
    ProfileOptions options;
    options.train.arch = "resnet18";
    options.train.size = 32;
    options.train.precision = "bf16";
    const auto summed = [&] {
        double bytes = 0;
        for (const Transfer& t : transfers_of(predict_profile(options, limits_of("h200"))))
            if (t.what.ends_with("gradients")) bytes += static_cast<double>(t.bytes);
        return bytes;
    };
    // 11.17 million weights of convolutions in 16 bits, 10 * 512 + 10 + 2 * 4800 others in 32; the
    // stem is stored with 8 channels.
    EXPECT_NEAR(summed(), 2 * (11'166'912 + 64 * 49 * 5) + 4 * (5130 + 9600), 2000);
    options.train.freeze = "body";
    options.train.freeze_bn = true;
    EXPECT_NEAR(summed(), 4 * 5130, 1000) << "the classifier alone";
}

TEST(Forecast, inputs_are_enough_when_the_cores_of_a_rank_make_its_images) {
    Profile profile = made_up();
    profile.options.train.batch_size = 5;  // 1000 images/s
    const ScaleForecast all =
        forecast_ranks(profile, {.ranks = {1}, .links = links, .cores = 10, .decode_rate = 50});
    EXPECT_NEAR(all.images_per_rank, 1000, 1e-6);
    EXPECT_EQ(all.inputs.front().name, "folder");
    EXPECT_NEAR(all.inputs.front().cores, 20, 1e-6);
    EXPECT_FALSE(all.inputs.front().enough);
    EXPECT_EQ(all.inputs.back().name, "resident");
    EXPECT_TRUE(all.inputs.back().enough);
}

TEST(Forecast, refuses_ranks_that_do_not_fill_their_nodes) {
    EXPECT_NO_THROW(forecast_ranks(made_up(), {.ranks = {3, 4, 12}, .links = links}));
    EXPECT_THROW(forecast_ranks(made_up(), {.ranks = {6}, .links = links}), Error);
}

}  // namespace
}  // namespace onecycle
