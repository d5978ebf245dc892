// Options: their text form, their defaults, what is refused.
#include "onecycle/options.h"

#include <gtest/gtest.h>

#include "onecycle/error.h"
#include "train/options_record.h"

namespace onecycle {
namespace {

TEST(Options, config_json_holds_every_option_and_reads_back_equal) {
    TrainOptions options{.data = "/photos",
                         .valid_fraction = 0.3,
                         .exclude = {"masks", "*.gif"},
                         .labels = "/labels.csv",
                         .label_from = "(.)\\d",
                         .bad_images = BadImages::fail,
                         .arch = "resnet50",
                         .stem = Stem::small,
                         .zero_init_residual = true,
                         .head = Head::fastai,
                         .dropout = 0.3,
                         .size = 64,
                         .augment = AugmentPolicy::strong,
                         .mean = {0.1, 0.2, 0.3},
                         .batch_size = 7,
                         .epochs = 9,
                         .max_lr = 0.1234567890123456789,
                         .policy = "onecycle:pytorch",
                         .pct_start = 0.4,
                         .anneal = Anneal::linear,
                         .three_phase = true,
                         .momentum = MomentumRange{0.8, 0.9},
                         .optimizer = OptimizerKind::adamw,
                         .trust_coefficient = 0.02,
                         .weight_decay = 0.05,
                         .mixup = 0.2,
                         .cutmix = 0.5,
                         .balanced_class_weights = true,
                         .clip_norm = 1,
                         .accumulate = 2,
                         .ema = 0.99,
                         .freeze = "layer2",
                         .freeze_bn = true,
                         .freeze_epochs = 2,
                         .lr_mult = 30,
                         .retest_lr = true,
                         .seed = 18446744073709551615u,
                         .threads = 3,
                         .input = "stream",
                         .checkpoint_every = 17};
    const std::string text = to_json(options);
    const TrainOptions read = train_options_from_json(text, "config.json");
    EXPECT_EQ(to_json(read), text);
    EXPECT_TRUE(changed_options(options, read).empty());
    EXPECT_EQ(read.max_lr, options.max_lr);
    EXPECT_EQ(read.seed, options.seed);
    EXPECT_EQ(read.momentum->low, 0.8);
    EXPECT_EQ(read.head, Head::fastai);
    EXPECT_EQ(read.exclude, options.exclude);
    EXPECT_EQ(read.label_from, options.label_from);
    EXPECT_EQ(read.freeze, "layer2");
    EXPECT_TRUE(read.retest_lr);
}

TEST(Options, resolved_says_everything_out_loud) {
    TrainOptions options{.data = "photos", .optimizer = OptimizerKind::adamw};
    const TrainOptions all = resolved(options);
    EXPECT_EQ(all.data.front(), '/');
    EXPECT_EQ(all.weight_decay, 1e-2);
    EXPECT_EQ(all.momentum->low, 0.85);
    EXPECT_EQ(all.momentum->high, 0.95);
    EXPECT_EQ(all.pct_start, 0.25);
    EXPECT_EQ(all.div, 25);
    EXPECT_EQ(all.final_div, 1e4);
    EXPECT_EQ(all.anneal, Anneal::cosine);
    EXPECT_EQ(all.device, "cpu");
    EXPECT_EQ(all.precision, "fp32");
    EXPECT_EQ(all.input, "auto") << "each machine decides anew";
    options.optimizer = OptimizerKind::sgd;
    options.policy = "cosine";
    EXPECT_EQ(resolved(options).weight_decay, 1e-4);
    options.optimizer = OptimizerKind::lars;
    EXPECT_EQ(resolved(options).weight_decay, 1e-4);
    options.optimizer = OptimizerKind::lamb;
    EXPECT_EQ(resolved(options).weight_decay, 1e-2);
    EXPECT_EQ(resolved(options).trust_coefficient, 0.001);
    EXPECT_EQ(resolved(options).momentum->high, 0.9);
    EXPECT_FALSE(resolved(options).pct_start || resolved(options).div) << "cosine takes neither";
    EXPECT_NE(to_json(all).find("\"max_lr\": \"auto\""), std::string::npos);
}

TEST(Options, unknown_members_and_wrong_types_are_refused_by_name) {
    for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
             {R"({"bach_size": 3})", "bach_size"},
             {R"({"batch_size": "3"})", "\"batch_size\" is \"3\", but must be a whole number"},
             {R"({"batch_size": 99999999999})", "batch_size"},
             {R"({"momentum": true})", "momentum"},
             {R"({"optimizer": "sdg"})", "config.json: \"optimizer\" is \"sdg\""},
             {R"({"momentum": "a"})", "config.json: \"momentum\" is \"a\""},
             {R"({"anneal": "x"})", "config.json: \"anneal\" is \"x\""},
             {R"({"mean": [1, 2]})", "mean"},
             {"[1]", "not a JSON object"},
             {"{", "not a JSON object"}}) {
        try {
            train_options_from_json(text, "config.json");
            ADD_FAILURE() << text;
        } catch (const Error& error) {
            EXPECT_EQ(error.exit_code(), 2);
            EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
        }
    }
}

TEST(Options, a_batch_norm_over_ranks_is_recorded_with_their_number_where_it_is_on) {
    TrainOptions local, synchronized;
    synchronized.sync_batch_norm = true;
    EXPECT_EQ(to_json(local).find("sync_batch_norm"), std::string::npos);
    EXPECT_TRUE(train_options_from_json(to_json(synchronized), "config.json").sync_batch_norm);
    EXPECT_TRUE(changed_options(local, synchronized).empty()) << "one rank: it changes nothing";
    local.ranks = synchronized.ranks = 2;
    const std::vector<std::string> changed = {"--sync-batch-norm"};
    EXPECT_EQ(changed_options(local, synchronized), changed);
    EXPECT_EQ(changed_options(synchronized, local), changed);
    TrainOptions spread = synchronized;
    spread.ranks = 1;
    spread.accumulate = 2;
    EXPECT_EQ(changed_options(synchronized, spread), changed);
    spread.sync_batch_norm = false;
    EXPECT_TRUE(changed_options(local, spread).empty());
}

TEST(Options, a_text_that_is_no_record_differs_in_all) {
    for (const char* text : {"", "o", "[]", "7"})
        EXPECT_EQ(differences_from_record(text, {}), std::vector<std::string>{"all options"}) << text;
    EXPECT_TRUE(differences_from_record("{}", {}).empty());
}

TEST(Options, shares_are_recorded_where_there_are_several_for_any_number_of_ranks) {
    TrainOptions whole, shared;
    shared.ranks = 4;
    shared.shares = 4;
    whole.ranks = 4;
    for (const int none : {0, 1}) {
        whole.shares = none;
        EXPECT_EQ(to_json(whole).find("shares"), std::string::npos);
        const std::vector<std::string> changed = {"--shares"};
        EXPECT_EQ(changed_options(whole, shared), changed);
        EXPECT_EQ(changed_options(shared, whole), changed);
    }
    const TrainOptions read = train_options_from_json(to_json(shared), "config.json");
    EXPECT_EQ(read.shares, 4);
    EXPECT_TRUE(changed_options(shared, read).empty());
    TrainOptions elsewhere = shared;
    elsewhere.ranks = 2;
    elsewhere.accumulate = 2;
    EXPECT_TRUE(changed_options(shared, elsewhere).empty());
}

TEST(Options, what_is_out_of_range_is_refused_by_name) {
    const auto refused = [](TrainOptions options, const std::string& option, int code = 2) {
        try {
            check(options);
            ADD_FAILURE() << option << " should be refused";
        } catch (const Error& error) {
            EXPECT_EQ(error.exit_code(), code) << error.what();
            EXPECT_NE(std::string(error.what()).find(option), std::string::npos) << error.what();
        }
    };
    EXPECT_NO_THROW(check({}));
    refused({.valid_fraction = 1}, "--valid-fraction");
    refused({.arch = "resnet17"}, "--arch");
    refused({.size = 31}, "--size");
    refused({.crop_pct = 0}, "--crop-pct");
    refused({.stddev = {1, 0, 1}}, "--std");
    refused({.batch_size = 1}, "--batch-size");
    refused({.epochs = 0}, "--epochs");
    refused({.max_lr = -1}, "--max-lr");
    refused({.policy = "twocycle"}, "--policy");
    refused({.pct_start = 2}, "--pct-start");
    refused({.momentum = MomentumRange{0.9, 1.0}}, "--momentum");
    refused({.optimizer = OptimizerKind::adam, .nesterov = true}, "--nesterov");
    refused({.weight_decay = -1}, "--weight-decay");
    refused({.optimizer = OptimizerKind::lars, .nesterov = true}, "--nesterov");
    refused({.trust_coefficient = 0}, "--trust-coefficient");
    refused({.label_smoothing = 1}, "--label-smoothing");
    refused({.mixup = -0.1}, "--mixup");
    refused({.cutmix = std::numeric_limits<double>::infinity()}, "--cutmix");
    refused({.accumulate = 0}, "--accumulate");
    refused({.ema = 1}, "--ema");
    refused({.threads = -1}, "--threads");
    refused({.dropout = 1}, "--dropout");
    refused({.freeze = "head"}, "--freeze");
    refused({.freeze_bn = true}, "--freeze-bn");
    refused({.freeze_epochs = -1}, "--freeze-epochs");
    refused({.lr_mult = 0}, "--lr-mult");
    refused({.device = "gpu"}, "--device");
    refused({.device = "cuda"}, "--device cuda", 7);
    refused({.precision = "bf16"}, "--precision bf16", 7);
}

}  // namespace
}  // namespace onecycle
