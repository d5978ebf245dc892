// Mixup and cutmix, on the CPU and on CUDA: what is drawn, what becomes of a batch, and that both
// give equal bits.
#include "rules/mix_rules.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "cuda/cuda.h"
#include "device/emulated/block.h"
#include "reference/formula.h"

namespace onecycle::testing {

namespace {

using json = nlohmann::json;

const json& data() {
    static const json all = json::parse(std::ifstream(reference_data("mix.json")));
    return all;
}

StepControl control_at(std::int64_t update, std::int32_t micro = 0) {
    StepControl control{};
    control.update = update;
    control.micro = micro;
    return control;
}

struct Setting {
    double mixup = 0, cutmix = 0;
    std::uint64_t seed = 3;
    std::int64_t update = 7;
    std::int32_t micro = 0;
    std::int64_t batch = 6, height = 4, width = 8;
    std::int32_t count = 6;
    DType type = DType::f32;
    Layout layout = Layout::nhwc;
};

OpDesc mix_of(const Setting& s) {
    OpDesc d{.kind = OpKind::mix_batch};
    d.mixup = s.mixup;
    d.cutmix = s.cutmix;
    d.seed = s.seed;
    const TensorDesc x({s.batch, 3, s.height, s.width}, s.layout, s.type),
        labels({s.batch}, Layout::plain, DType::i32), one({1}, Layout::plain, DType::i32);
    d.inputs = {x, labels, one, control_desc()};
    d.outputs = {x, labels, {s.batch}};
    return d;
}

struct Mixed {
    Values x;
    std::vector<std::int32_t> labels, labels2;
    std::vector<float> weight;
};

// The labels are the places; images from [-1, 1).
Mixed mix(const Setting& s, const Machine& machine) {
    const OpDesc d = mix_of(s);
    const TensorDesc& desc = d.inputs[0];
    const auto n = static_cast<std::size_t>(s.batch), size = static_cast<std::size_t>(desc.elements());
    const reference::Stream numbers("mix.x");
    Mixed mixed{Values(size), std::vector<std::int32_t>(n), std::vector<std::int32_t>(n, -1),
                std::vector<float>(n, -1)};
    for (std::size_t i = 0; i < size; ++i) mixed.x[i] = numbers.uniform(i);
    for (std::size_t i = 0; i < n; ++i) mixed.labels[i] = static_cast<std::int32_t>(i);
    std::vector<std::byte> x(desc.bytes());
    store_values(desc, mixed.x, x.data());
    StepControl control = control_at(s.update, s.micro);
    std::int32_t count = s.count;
    EXPECT_TRUE(run_in_place(d, {x.data(), mixed.labels.data(), &count, &control},
                             {x.data(), mixed.labels2.data(), mixed.weight.data()}, machine));
    mixed.x = load_values(desc, x.data());
    return mixed;
}

void expect_equal(const Mixed& a, const Mixed& b) {
    EXPECT_TRUE(a.x == b.x);
    EXPECT_EQ(a.labels2, b.labels2);
    EXPECT_EQ(a.weight, b.weight);
}

struct Place {
    const Machine* machine;
    Layout layout;
};
// Every back end, with the layouts that it has for an input.
std::vector<Place> places() {
    static const Machine cpu = cpu_machine(3), cuda = emulated_machine();
    return {{&cpu, Layout::plain}, {&cpu, Layout::nhwc}, {&cuda, Layout::nhwc}, {&cuda, Layout::nhwc8c}};
}

// The largest distance of the draws' distribution from scipy's.
TEST(MixDraws, of_lambda_have_the_folded_beta_distribution) {
    constexpr int n = 100000;
    for (const json& c : data()["distributions"]) {
        const double alpha = c["alpha"];
        SCOPED_TRACE("alpha " + std::to_string(alpha));
        const MixRule rule(alpha, 0, 11);
        std::vector<double> lambda;
        double sum = 0, squares = 0;
        for (int i = 0; i < n; ++i) {
            const MixDraw draw = rule.draw(control_at(i / 64), i % 64, 8, 8);
            ASSERT_FALSE(draw.cut);
            ASSERT_GE(draw.weight, 0.5f);
            ASSERT_LE(draw.weight, 1.0f);
            lambda.push_back(static_cast<double>(draw.weight));
            sum += lambda.back();
            squares += lambda.back() * lambda.back();
        }
        std::sort(lambda.begin(), lambda.end());
        double farthest = 0;
        for (std::size_t k = 0; k < c["shares"].size(); ++k) {
            const double quantile = c["quantiles"][k];
            if (quantile > 1 - 1e-6) continue;  // a float is 1 there
            const auto below = std::upper_bound(lambda.begin(), lambda.end(), quantile);
            farthest = std::max(farthest, std::abs(static_cast<double>(below - lambda.begin()) / n -
                                                   c["shares"][k].get<double>()));
        }
        EXPECT_LT(farthest * std::sqrt(n), 1.95) << "Kolmogorov and Smirnov: one in a thousand";
        const double mean = sum / n, deviation = c["deviation"];
        EXPECT_NEAR(mean, c["mean"].get<double>(), 4 * deviation / std::sqrt(n));
        EXPECT_NEAR(std::sqrt(squares / n - mean * mean), deviation, 0.01 * deviation);
    }
}

TEST(MixDraws, the_table_has_scipys_quantiles) {
    for (const json& c : data()["distributions"]) {
        const FoldedBeta beta = folded_beta(c["alpha"]);
        for (std::size_t k = 0; k < c["shares"].size(); ++k) {
            const double share = c["shares"][k], got = beta(static_cast<std::uint32_t>(share * 4294967296.0));
            EXPECT_NEAR(got, c["quantiles"][k].get<double>(), 4e-4) << c["alpha"] << " at " << share;
        }
    }
    for (const double alpha : {1e-300, 1e-9, 0.001, 1000.0}) {  // neither ends nor order go wrong
        const FoldedBeta beta = folded_beta(alpha);
        EXPECT_EQ(beta.quantile[0], 0.5f);
        for (int k = 0; k < FoldedBeta::cells; ++k) {
            ASSERT_LE(beta.quantile[k], beta.quantile[k + 1]);
            ASSERT_LE(beta.quantile[k + 1], 1.0f);
        }
    }
}

TEST(MixDraws, boxes_have_exactly_the_area_that_the_weight_says_and_torchvisions_distribution) {
    for (const json& c : data()["kept"]) {
        const int height = c["height"], width = c["width"];
        const MixRule rule(0, c["alpha"], 5);
        constexpr int n = 40000;
        double sum = 0, x = 0, y = 0;
        int boxes = 0;
        for (int i = 0; i < n; ++i) {
            const MixDraw draw = rule.draw(control_at(i), 1, height, width);
            ASSERT_TRUE(draw.cut);
            const Rectangle& b = draw.box;
            ASSERT_TRUE(b.x >= 0 && b.y >= 0 && b.width >= 0 && b.height >= 0 && b.x + b.width <= width &&
                        b.y + b.height <= height);
            ASSERT_EQ(draw.weight, static_cast<float>(1 - static_cast<double>(b.width) * b.height /
                                                              (static_cast<double>(width) * height)));
            sum += static_cast<double>(draw.weight);
            if (b.width * b.height == 0) continue;
            ++boxes;
            x += (b.x + b.width / 2.0) / width;
            y += (b.y + b.height / 2.0) / height;
        }
        EXPECT_NEAR(sum / n, c["mean"].get<double>(), 5 * c["deviation"].get<double>() / std::sqrt(n));
        EXPECT_NEAR(x / boxes, 0.5, 0.02);
        EXPECT_NEAR(y / boxes, 0.5, 0.02);
    }
}

TEST(MixDraws, with_both_each_sample_takes_one_of_the_two_with_equal_chances) {
    const MixRule rule(0.4, 1, 0);
    int cut = 0;
    for (int i = 0; i < 10000; ++i) cut += rule.draw(control_at(i / 100), i % 100, 16, 16).cut;
    EXPECT_NEAR(cut, 5000, 200);
}

TEST(MixDraws, are_a_function_of_seed_update_micro_batch_and_place) {
    const auto lambda = [](std::uint64_t seed, std::int64_t update, std::int32_t micro, int place) {
        return MixRule(1, 0, seed).draw(control_at(update, micro), place, 8, 8).weight;
    };
    const float first = lambda(1, 2, 3, 4);
    EXPECT_EQ(lambda(1, 2, 3, 4), first);
    EXPECT_NE(lambda(2, 2, 3, 4), first);
    EXPECT_NE(lambda(1, 3, 3, 4), first);
    EXPECT_NE(lambda(1, 2, 0, 4), first);
    EXPECT_NE(lambda(1, 2, 3, 5), first);
    EXPECT_NE(lambda(1, 2, 4, 3), first);
}

TEST(MixBatch, gives_what_timm_and_torchvision_give_for_the_same_random_numbers) {
    for (const json& c : data()["batches"])
        for (const Place& place : places()) {
            Setting s{.mixup = c["mixup"],
                      .cutmix = c["cutmix"],
                      .seed = c["seed"],
                      .update = c["update"],
                      .micro = c["micro"],
                      .batch = c["batch"],
                      .height = c["height"],
                      .width = c["width"],
                      .count = c["count"],
                      .layout = place.layout};
            const Mixed mixed = mix(s, *place.machine);
            ASSERT_EQ(mixed.x.size(), c["x"].size());
            for (std::size_t i = 0; i < mixed.x.size(); ++i)
                ASSERT_NEAR(mixed.x[i], c["x"][i].get<double>(), 5e-5)
                    << i;  // the table is linear between knots
            for (std::size_t i = 0; i < static_cast<std::size_t>(s.batch); ++i) {
                const bool sample = i < static_cast<std::size_t>(s.count);
                EXPECT_NEAR(mixed.weight[i], sample ? c["weight"][i].get<double>() : 1, 2e-5);
                EXPECT_EQ(mixed.labels2[i], sample ? s.count - 1 - static_cast<int>(i) : static_cast<int>(i));
                if (sample && c["box"][i].is_array()) {
                    EXPECT_EQ(mixed.weight[i], static_cast<float>(c["weight"][i].get<double>()));
                }
            }
        }
}

// Whole vectors, and images that do not all begin at one; boxes that begin and end within a vector;
// several blocks.
TEST(MixBatch, cpu_and_cuda_give_equal_bits_in_every_shape_and_type) {
    const Machine cpu = cpu_machine(2), cuda = emulated_machine();
    for (const auto& [batch, count, height, width] : {std::array<int, 4>{5, 5, 7, 11},
                                                      {4, 3, 16, 16},
                                                      {2, 2, 61, 97},
                                                      {7, 2, 4, 5},
                                                      {3, 3, 64, 52},
                                                      {1, 1, 4, 4},
                                                      {4, 1, 3, 3},
                                                      {2, 0, 2, 2}})
        for (const DType type : float_types)
            for (const Layout layout : {Layout::nhwc, Layout::nhwc8c})
                for (const std::int64_t update : {1, 2}) {
                    Setting s{.mixup = 0.4, .cutmix = update == 1 ? 1.0 : 0.0, .update = update};
                    s.batch = batch, s.count = count, s.height = height, s.width = width;
                    s.type = type, s.layout = layout;
                    SCOPED_TRACE(to_string(mix_of(s).inputs[0]));
                    const Mixed got = mix(s, cuda);
                    if (type == DType::f32) {
                        s.layout = Layout::nhwc;
                        expect_equal(got, mix(s, cpu));
                        s.layout = Layout::plain;
                        expect_equal(got, mix(s, cpu));
                        continue;
                    }
                    // In 16 bits: the f32 result of what was stored, rounded once.
                    const MixRule rule(s.mixup, s.cutmix, s.seed);
                    const std::size_t image =
                        static_cast<std::size_t>(3 * height) * static_cast<std::size_t>(width);
                    Values before(image * static_cast<std::size_t>(batch));
                    const reference::Stream numbers("mix.x");
                    for (std::size_t i = 0; i < before.size(); ++i) before[i] = numbers.uniform(i);
                    before = stored_as(type, before);
                    Values expected = before;
                    for (int i = 0; i < count; ++i) {
                        const int j = count - 1 - i;
                        if (i == j) continue;
                        const MixDraw draw = rule.draw(control_at(update), i, height, width);
                        for (std::size_t k = 0; k < image; ++k) {
                            const int pixel = static_cast<int>(k) % (height * width);
                            const std::size_t own = static_cast<std::size_t>(i) * image + k,
                                              other = static_cast<std::size_t>(j) * image + k;
                            expected[own] = static_cast<double>(
                                draw.mixed(static_cast<float>(before[own]), static_cast<float>(before[other]),
                                           draw.box.contains(pixel % width, pixel / width)));
                        }
                    }
                    EXPECT_TRUE(got.x == stored_as(type, expected));
                }
}

TEST(MixBatch, is_the_same_again_and_in_any_order_of_blocks) {
    const Setting s{.mixup = 1, .cutmix = 1, .batch = 9, .height = 20, .width = 40, .count = 9};
    const Mixed first = mix(s, emulated_machine());
    for (std::uint64_t seed : {0u, 2u, 3u}) {
        emulated::set_schedule_seed(seed);
        expect_equal(mix(s, emulated_machine()), first);
    }
    emulated::set_schedule_seed(1);
    for (const int threads : {1, 5}) expect_equal(mix(s, cpu_machine(threads)), first);
}

TEST(MixBatch, refuses_operands_that_do_not_fit) {
    for (const Place& place : places()) {
        const auto refused = [&](auto change) {
            OpDesc d = mix_of({.mixup = 1, .layout = place.layout});
            EXPECT_NO_THROW(place.machine->backend->make(d));
            change(d);
            EXPECT_ANY_THROW(place.machine->backend->make(d));
        };
        refused([](OpDesc& d) { d.mixup = 0; });
        refused([](OpDesc& d) { d.cutmix = -1; });
        refused([](OpDesc& d) { d.inputs[1] = TensorDesc({5}, Layout::plain, DType::i32); });
        refused([](OpDesc& d) { d.outputs[2] = TensorDesc({6}, Layout::plain, DType::i32); });
        refused([](OpDesc& d) { d.inputs[0].layout = d.outputs[0].layout = Layout::nChw8c; });
        refused([](OpDesc& d) { d.outputs[0] = {6, 3, 8, 4}; });
        refused([](OpDesc& d) { d.inputs.pop_back(); });
    }
}

TEST(PairsOfLabels, have_the_loss_and_gradient_that_pytorch_gives_for_probabilities) {
    for (const json& c : data()["losses"])
        for (const Place& place : places()) {
            const TensorDesc logits{6, 8}, labels({6}, Layout::plain, DType::i32),
                one({1}, Layout::plain, DType::i32);
            OpDesc d{.kind = OpKind::softmax_cross_entropy};
            d.label_smoothing = c["smoothing"];
            d.class_weights = c["weighted"];
            d.gradient = d.label_pairs = true;
            d.inputs = {logits, labels, one};
            const reference::Stream x("mix.logits.24"), weights("mix.weights");
            std::vector<Values> in = {Values(48), {3, 0, 7, 2, 2, 5}, {6}};
            for (std::size_t i = 0; i < 48; ++i) in[0][i] = 3 * x.uniform(i);
            if (d.class_weights) {
                d.inputs.push_back({8});
                in.emplace_back(8);
                for (std::size_t i = 0; i < 8; ++i) in[3][i] = 1.25 + weights.uniform(i);
            }
            d.inputs.insert(d.inputs.end(), {labels, {6}});
            in.insert(in.end(), {{5, 2, 2, 2, 0, 3}, {0.75, 0.5, 0.9, 0.6, 0.2, 1}});
            d.outputs = {result_desc(), logits};
            const Outcome out = run_op(d, in, *place.machine);
            EXPECT_NEAR(out.outputs[0][0], c["loss"].get<double>(), 1e-6);
            EXPECT_NEAR(out.outputs[0][2], c["total"].get<double>(), 1e-6);
            EXPECT_EQ(out.outputs[0][4], c["correct"].get<double>()) << "of the heavier labels";
            for (std::size_t i = 0; i < 48; ++i)
                EXPECT_NEAR(out.outputs[1][i], c["dlogits"][i].get<double>(), 2e-7) << i;
        }
}

}  // namespace

}  // namespace onecycle::testing
