// The networks beside ResNet18, 34 and 50 against PyTorch run in double precision
// (tests/reference/generate_networks.py), and what an architecture promises.
#include <gtest/gtest.h>

#include "nn/architectures/vgg_blocks.h"
#include "nn/step_case.h"
#include "onecycle/error.h"

namespace onecycle {
namespace {

using nlohmann::json;
using testing::Session;

const json& references() {
    static const json all = testing::load("networks.json");
    return all;
}

// "vgg" has hidden layers of 64: those of 4096 are a hundred million weights.
Network network_for(const json& reference) {
    const NetworkOptions options{
        .classes = reference.at("classes"), .size = reference.at("size"), .dropout = 0};
    if (reference.at("arch") == "vgg")
        return vgg_network({.convolutions = {1, 1, 2, 2, 2}, .hidden = 64}, options);
    return architecture(reference.at("arch")).make(options);
}

void expect_like_pytorch(const json& reference, const std::function<testing::Machine()>& machine) {
    SCOPED_TRACE(reference.at("arch").get<std::string>() + ", " + reference.at("size").dump() + " px");
    ProgramKey key = testing::key_of(reference);
    key.optimizer.weight_decay = 0;
    Session session(network_for(reference), key, machine());
    testing::expect_step(session, reference);
    const json& losses = reference.at("losses");
    if (losses.empty()) return;
    Session training(network_for(reference), key, machine());
    training.state.initialise(0);
    training.set_formula_weights(reference.at("norm_bias"));
    training.set_formula_batch(reference.at("images"), reference.at("labels"));
    for (std::size_t i = 0; i < losses.size(); ++i) {
        training.runnable.launch();
        EXPECT_NEAR(training.runnable.read_result().loss, losses[i].get<double>(),
                    reference.at("losses_tolerance")[i].get<double>())
            << "update " << i;
    }
}

TEST(Networks, forward_gradients_statistics_and_ten_losses_are_those_of_pytorch) {
    for (const json& reference : references().at("cases"))
        expect_like_pytorch(reference, [] { return testing::cpu_machine(); });
}

TEST(Networks, forward_gradients_statistics_and_ten_losses_are_those_of_pytorch_emulated) {
    for (const json& reference : references().at("cases"))
        if (reference.at("emulated"))
            expect_like_pytorch(reference, [] { return testing::emulated_machine(); });
}

TEST(Networks, equal_bits_for_any_number_of_threads) {
    for (const json& reference : references().at("cases")) {
        if (reference.at("losses").empty()) continue;
        std::string expected;
        for (const int threads : {1, 2, 3}) {
            Session session(network_for(reference), testing::key_of(reference),
                            testing::cpu_machine(threads));
            session.state.initialise(7);
            session.set_formula_batch();
            for (int i = 0; i < 2; ++i) session.runnable.launch();
            if (threads == 1) expected = session.state.digest();
            EXPECT_EQ(session.state.digest(), expected) << reference.at("arch") << ", " << threads;
        }
    }
}

TEST(Networks, have_the_names_shapes_and_counts_of_torchvision) {
    for (const auto& [name, expected] : references().at("inventory").items()) {
        const Network network = architecture(name).make({.classes = 1000});
        EXPECT_EQ(network.parameter_count(), expected.at("parameters").get<std::int64_t>()) << name;
        // In the order of a state dict: running statistics behind the parameters of their norm.
        std::string text;
        const auto line = [&](const std::string& tensor, const std::vector<std::int64_t>& shape) {
            text += tensor + " [";
            for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
            text += "];";
        };
        for (const Layer& layer : network.layers()) {
            for (const int p : layer.parameters) {
                const Parameter& parameter = network.parameters()[static_cast<std::size_t>(p)];
                line(parameter.name, parameter.shape);
            }
            if (layer.statistics < 0) continue;
            line(layer.name + ".running_mean", {layer.shape[0]});
            line(layer.name + ".running_var", {layer.shape[0]});
        }
        EXPECT_EQ(reference::fnv1a(text), expected.at("digest").get<std::uint32_t>()) << name;
    }
}

// What both branches of a sum share is never changed for one of them: a + b, where b is made of a.
TEST(Networks, a_branch_around_convolutions_has_the_gradients_of_two_chained_sums) {
    const auto build = [](bool fused) {
        Network net;
        const int a = net.relu(net.batch_norm("a.bn", net.conv2d("a", net.input(3, 8, 8), 8, 3, 1, 1)));
        const int b = net.add(net.conv2d("b", a, 8, 3, 1, 1, true), a);
        const int c = net.add(net.conv2d("c", b, 8, 3, 1, 1, true), net.add(b, a));
        net.linear("fc", net.adaptive_average_pool(c, 3), 4);
        ProgramKey key = testing::training_key(3);
        key.fuse = fused;
        return Session(std::move(net), key);
    };
    Session fused = build(true), plain = build(false);
    for (Session* session : {&fused, &plain}) {
        session->state.initialise(1);
        session->set_formula_weights(0);
        session->set_formula_batch();
        session->runnable.launch();
    }
    for (const Parameter& parameter : fused.network.parameters()) {
        const auto one = fused.runnable.read(fused.buffer("grad " + parameter.name)),
                   other = plain.runnable.read(plain.buffer("grad " + parameter.name));
        double worst = 0, largest = 1e-6;
        for (std::size_t i = 0; i < one.size(); ++i) {
            worst = std::max(worst, std::abs(static_cast<double>(one[i]) - static_cast<double>(other[i])));
            largest = std::max(largest, std::abs(static_cast<double>(other[i])));
        }
        EXPECT_LE(worst, 1e-5 * largest) << parameter.name;
    }
}

void expect_refused(const std::string& says, const std::function<void()>& work) {
    try {
        work();
        FAIL() << "not refused: " << says;
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::usage);
        EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
}

TEST(Architectures, refuse_a_size_below_their_smallest_and_build_at_it) {
    for (const Architecture& a : architectures())
        for (const Stem stem : {Stem::imagenet, Stem::small}) {
            if (stem == Stem::small && !a.smallest_size_small_stem) {
                expect_refused("has one stem only", [&] { a.make({.stem = stem}); });
                continue;
            }
            const int least = a.smallest(stem);
            EXPECT_NO_THROW(a.make({.classes = 2, .size = least, .stem = stem})) << a.name;
            for (const int size : {least - 1, 1, 0, -5})
                expect_refused(std::to_string(least) + " pixels",
                               [&] { a.make({.size = size, .stem = stem}); });
        }
}

TEST(Architectures, an_unknown_name_is_refused_with_the_list_and_the_nearest) {
    expect_refused("the nearest is resnet34", [] { architecture("resnet_34"); });
    expect_refused("use resnet18, resnet34, ", [] { architecture("transformer"); });
}

TEST(Architectures, have_a_head_behind_at_least_one_part_and_three_rates) {
    for (const Architecture& a : architectures())
        for (const Head head : {Head::linear, Head::fastai}) {
            const Network network = a.make({.head = head});
            EXPECT_GE(network.head_part(), 1) << a.name;
            EXPECT_EQ(network.parts().back(), "head") << a.name;
            EXPECT_EQ(network.groups(), 3) << a.name;
            EXPECT_FALSE(a.description.empty()) << a.name;
        }
}

TEST(Architectures, what_is_no_classifier_is_refused) {
    const auto made = [](const std::function<void(Network&, const NetworkOptions&)>& layers) {
        return Architecture{.name = "own", .build = [layers](const NetworkOptions& o) {
                                Network net;
                                layers(net, o);
                                return net;
                            }};
    };
    expect_refused("no function", [] { Architecture{.name = "own"}.make({}); });
    expect_refused("first layer", [&] { made([](Network&, const NetworkOptions&) {}).make({}); });
    expect_refused("first layer", [&] {
        made([](Network& net, const NetworkOptions& o) {
            net.linear("fc", net.global_average_pool(net.input(3, 16, 16)), o.classes);
        }).make({});
    });
    expect_refused("last layer", [&] {
        made([](Network& net, const NetworkOptions& o) {
            net.relu(net.linear("fc", net.global_average_pool(net.input(3, o.size, o.size)), o.classes));
        }).make({});
    });
    expect_refused("last layer", [&] {
        made([](Network& net, const NetworkOptions& o) {
            net.linear("fc", net.global_average_pool(net.input(3, o.size, o.size)), o.classes + 1);
        }).make({});
    });
    expect_refused("head of its own",
                   [&] { made([](Network&, const NetworkOptions&) {}).make({.head = Head::fastai}); });
}

}  // namespace
}  // namespace onecycle
