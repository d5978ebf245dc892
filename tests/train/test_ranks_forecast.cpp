// What is predicted of several ranks, by hand.
#include "train/ranks_forecast.h"

#include <gtest/gtest.h>

#include "onecycle/error.h"

namespace onecycle {
namespace {

constexpr Links links{
    .inside = 100e9, .between = 10e9, .inside_hop = 1e-6, .between_hop = 10e-6, .message = 2e-6, .node = 4};

TEST(Exchange, in_a_node_takes_a_share_and_a_message_for_each_other_rank) {
    EXPECT_EQ(exchange_time(links, {1, 1, 8e6}), 0);
    EXPECT_NEAR(exchange_time(links, {2, 1, 4e6}), 40e-6 + 2e-6 + 1e-6, 1e-12);
    EXPECT_NEAR(exchange_time(links, {4, 1, 2e6}), 3 * (20e-6 + 2e-6) + 1e-6, 1e-12);
}

TEST(Exchange, between_nodes_no_byte_is_saved_by_the_node) {
    EXPECT_NEAR(exchange_time(links, {8, 1, 1e6}), 4 * (100e-6 + 2e-6) + 10e-6, 1e-12);
    // Messages alone take 2 ms here.
    EXPECT_NEAR(exchange_time(links, {1024, 1, 8e6 / 1024}), 1020 * (0.78125e-6 + 2e-6) + 10e-6, 1e-12);
    Links fast = links;
    fast.between = 1e12;
    EXPECT_NEAR(exchange_time(fast, {8, 1, 10e6}), 3 * (100e-6 + 2e-6) + 1e-6, 1e-12)
        << "the node is the slower";
}

TEST(Exchange, of_ranks_that_are_a_node_apart_leaves_it) {
    EXPECT_NEAR(exchange_time(links, {8, 4, 1e6}), 7 * (100e-6 + 2e-6) + 10e-6, 1e-12);
    EXPECT_NEAR(exchange_time(links, {8, 8, 1e6}), 7 * (100e-6 + 2e-6) + 10e-6, 1e-12);
    // Every second rank: two of them in each node.
    EXPECT_NEAR(exchange_time(links, {8, 2, 1e6}), 6 * (100e-6 + 2e-6) + 10e-6, 1e-12);
}

// A step of 4 ms before the update and 1 ms of update. Its buckets of 40 MB and 4 MB wait for the
// steps that end after 3 and 4 ms. Memory is so fast that what passes through it takes no time.
Profile made_up(int ranks) {
    Profile profile;
    profile.options.train.batch_size = 10;
    profile.limits = {1e18, 1e15, "made up"};
    profile.steps = {{.phase = "forward", .limit = 1e-3},
                     {.phase = "loss", .limit = 0},
                     {.phase = "backward", .limit = 2e-3},
                     {.phase = "backward", .limit = 1e-3}};
    if (ranks > 1) {
        profile.steps.push_back({.name = "bucket 0",
                                 .phase = "update",
                                 .branch = 2,
                                 .waits = {2},
                                 .exchanged = 40e6,
                                 .exchanges = {{ranks, 1, 40e6 / ranks}, {ranks, 1, 40e6 / ranks}}});
        profile.steps.push_back({.name = "bucket 1",
                                 .phase = "update",
                                 .branch = 2,
                                 .waits = {3},
                                 .exchanged = 4e6,
                                 .exchanges = {{ranks, 1, 4e6 / ranks}, {ranks, 1, 4e6 / ranks}}});
    }
    profile.steps.push_back({.phase = "update", .limit = 1e-3});
    return profile;
}

TEST(Forecast, what_arrives_after_the_backward_pass_is_waited_for) {
    const ScaleForecast all = forecast_ranks(made_up, {.ranks = {1, 2}, .links = links});
    const RanksForecast &one = all.ranks[0], &two = all.ranks[1];
    EXPECT_NEAR(one.step, 5e-3, 1e-12);
    EXPECT_EQ(one.exposed, 0);
    EXPECT_NEAR(one.images_per_second, 2000, 1e-6);
    EXPECT_EQ(one.efficiency, 1);
    // The first bucket is on its way from 3 ms on for 406 us; the second is ready at 4 ms and takes 46 us.
    EXPECT_NEAR(two.transfers[0].end, 3.406e-3, 1e-8);
    EXPECT_NEAR(two.transfers[1].start, 4e-3, 1e-8);
    EXPECT_NEAR(two.exposed, 46e-6, 1e-8);
    EXPECT_NEAR(two.step, 5.046e-3, 1e-8);
    EXPECT_NEAR(two.efficiency, 5 / 5.046, 1e-5);
    EXPECT_NEAR(two.images_per_second, 20 / 5.046e-3, 0.1);
}

TEST(Forecast, a_bucket_waits_for_the_one_before_it) {
    Links slow = links;
    slow.inside = 20e9;
    const ScaleForecast all = forecast_ranks(made_up, {.ranks = {2}, .links = slow});
    EXPECT_NEAR(all.ranks[0].transfers[1].start, 3e-3 + 2.006e-3, 1e-8);
    EXPECT_NEAR(all.ranks[0].step, 3e-3 + 2.006e-3 + 0.206e-3 + 1e-3, 1e-8);
}

TEST(Forecast, what_passes_through_the_memory_is_taken_from_the_step) {
    const auto profile_of = [](int ranks) {
        Profile profile = made_up(ranks);
        profile.limits.bytes_per_second = 1e12;
        // As a program counts: 20 MB sent twice, each byte read and written, and 10 MB of kernels.
        if (ranks > 1) profile.steps[4].limit = (2 * 2 * 20e6 + 10e6) / 1e12;
        return profile;
    };
    const RanksForecast two = forecast_ranks(profile_of, {.ranks = {2}, .links = links}).ranks[0];
    EXPECT_NEAR(two.transfers[0].end, 3.406e-3 + 2 * 10e-6, 1e-8) << "half of the GPU";
    // Through NCCL's buffers each byte is read and written twice.
    EXPECT_NEAR(two.transfers[1].start, 4e-3 + 170e-6, 1e-8);
}

ProfileOptions resnet18(const std::string& precision) {
    ProfileOptions options;
    options.train.arch = "resnet18";
    options.train.size = 32;
    options.train.precision = precision;
    return options;
}

double reduced(ProfileOptions options, int ranks) {
    options.ranks = ranks;
    double bytes = 0;
    for (const ProfiledStep& step : predict_profile(options, {4e12, 1e15, "made up"}).steps)
        if (step.name.starts_with("bucket ")) bytes += step.exchanged;
    return bytes;
}

TEST(Forecast, of_a_network_sums_every_gradient_that_is_trained_in_32_bits_and_no_other) {
    // 11.17 million weights of convolutions, 10 * 512 + 10 + 2 * 4800 others. Each tensor begins at a
    // multiple of 128. In 16 bits the stem is stored with 8 channels.
    const double all = 4 * (11'166'912 + 5130 + 9600), tolerance = 4 * 128 * 62 / 2.0;
    EXPECT_NEAR(reduced(resnet18("fp32"), 8), all, tolerance);
    EXPECT_NEAR(reduced(resnet18("bf16"), 8), all + 4 * 64 * 49 * 5, tolerance);
    EXPECT_EQ(reduced(resnet18("bf16"), 1), 0);
    ProfileOptions frozen = resnet18("bf16");
    frozen.train.freeze = "body";
    frozen.train.freeze_bn = true;
    EXPECT_NEAR(reduced(frozen, 8), 4 * 5130, 1000) << "the classifier alone";
}

TEST(Forecast, of_a_network_begins_before_the_backward_pass_ends) {
    ProfileOptions options = resnet18("bf16");
    const auto profile_of = [&](int ranks) {
        options.ranks = ranks;
        return predict_profile(options, limits_of("h200"));
    };
    const std::vector<Transfer> transfers = forecast_ranks(profile_of, {.ranks = {8}}).ranks[0].transfers;
    EXPECT_EQ(transfers.front().name, "gather_results");
    EXPECT_EQ(transfers.back().name, "batch statistics");
    EXPECT_LT(transfers[1].ready, 0.7 * transfers[transfers.size() - 2].ready);
    for (std::size_t i = 1; i < transfers.size(); ++i) EXPECT_GE(transfers[i].start, transfers[i - 1].end);
}

TEST(Forecast, of_groups_of_eight_sends_in_them_and_then_between_them) {
    ProfileOptions options = resnet18("fp32");
    options.ranks = 24;
    options.two_levels = true;
    for (const ProfiledStep& step : predict_profile(options, limits_of("h200")).steps) {
        if (step.name.starts_with("bucket ")) {
            ASSERT_EQ(step.exchanges.size(), 4u) << step.name;
            for (const std::size_t i : {0u, 3u}) {
                EXPECT_EQ(step.exchanges[i].ranks, 8);
                EXPECT_EQ(step.exchanges[i].apart, 1);
                EXPECT_NEAR(step.exchanges[i].bytes, step.exchanged / 8, 1);
            }
            for (const std::size_t i : {1u, 2u}) {
                EXPECT_EQ(step.exchanges[i].ranks, 3);
                EXPECT_EQ(step.exchanges[i].apart, 8);
                EXPECT_NEAR(step.exchanges[i].bytes, step.exchanged / 24, 1);
            }
        }
        if (step.name == "gather_results") {
            ASSERT_EQ(step.exchanges.size(), 2u);
            EXPECT_EQ(step.exchanges[1].bytes, 8 * step.exchanges[0].bytes);
        }
    }
}

TEST(Forecast, inputs_are_enough_when_the_cores_of_a_rank_make_its_images) {
    const auto profile_of = [](int ranks) {
        Profile profile = made_up(ranks);
        profile.options.train.batch_size = 5;  // 1000 images/s
        return profile;
    };
    const ScaleForecast all =
        forecast_ranks(profile_of, {.ranks = {1}, .links = links, .cores = 10, .decode_rate = 50});
    EXPECT_NEAR(all.images_per_rank, 1000, 1e-6);
    EXPECT_EQ(all.inputs.front().name, "folder");
    EXPECT_NEAR(all.inputs.front().cores, 20, 1e-6);
    EXPECT_FALSE(all.inputs.front().enough);
    EXPECT_EQ(all.inputs.back().name, "resident");
    EXPECT_TRUE(all.inputs.back().enough);
}

TEST(Forecast, refuses_ranks_that_do_not_fill_their_nodes) {
    EXPECT_NO_THROW(forecast_ranks(made_up, {.ranks = {3, 4, 12}, .links = links}));
    EXPECT_THROW(forecast_ranks(made_up, {.ranks = {6}, .links = links}), Error);
}

}  // namespace
}  // namespace onecycle
