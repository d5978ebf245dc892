// A network that is not built in: found a rate for, trained, resumed, saved, loaded, exported.
#include <gtest/gtest.h>

#include "formats/readers.h"
#include "onecycle/export.h"
#include "onecycle/tensor_file.h"
#include "train/initial_weights.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_dataset;
using testing::tiny_options;
using testing::without_times;

// A biased convolution, a residual branch, pooling and a hidden layer: what built-in networks have.
Network build(const NetworkOptions& options) {
    Network net;
    net.begin_part("eye", 0);
    int x = net.input(3, options.size, options.size);
    x = net.relu(net.batch_norm("eye.norm", net.conv2d("eye", x, 8, 3, 2, 1, true)));
    x = net.add(x, net.relu(net.conv2d("around", x, 8, 3, 1, 1, true)));
    net.begin_part("head", 1);
    x = net.adaptive_average_pool(x, 3);
    x = net.dropout(net.relu(net.linear("hidden", x, 16)), options.dropout);
    net.linear("out", x, options.classes);
    return net;
}

Architecture own(const std::string& name = "own") {
    return {.name = name, .description = "of a test", .build = build, .smallest_size = 16};
}

// options.arch is left at its default: what is given counts.
TrainOptions options() {
    TrainOptions o = tiny_options();
    o.arch = default_architecture;
    o.device = "cpu";
    return o;
}

void expect_refused(ErrorKind kind, const std::string& says, const std::function<void()>& work) {
    try {
        work();
        FAIL() << "not refused: " << says;
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind) << error.what();
        EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
}

TEST(OwnNetwork, a_run_of_it_that_was_stopped_ends_with_the_bytes_of_one_that_was_not) {
    const TemporaryFolder folder;
    const std::string whole = folder / "whole", stopped = folder / "stopped";
    {
        RunFolder run = RunFolder::create(whole);
        Learner learner(tiny_dataset(), options(), {}, own());
        EXPECT_EQ(learner.find({.steps = 8}).loss.size(), 8u);
        EXPECT_TRUE(learner.fit({.run = &run}).finished());
    }
    int left = 4;
    {
        RunFolder run = RunFolder::create(stopped);
        const Observer observer{.stop = [&] { return left-- == 0 ? 2 : 0; }};
        EXPECT_EQ(Learner(tiny_dataset(), options(), observer, own()).fit({.run = &run}).signal, 2);
    }
    RunFolder run = RunFolder::open(stopped);
    EXPECT_TRUE(Learner(tiny_dataset(), options(), {}, own()).fit({.run = &run}).finished());
    EXPECT_EQ(SafetensorsFile(newest_valid_checkpoint(stopped)->path).digest(),
              SafetensorsFile(newest_valid_checkpoint(whole)->path).digest());
    EXPECT_EQ(without_times(read_text(stopped + "/metrics.csv")),
              without_times(read_text(whole + "/metrics.csv")));
    EXPECT_NE(read_text(whole + "/config.json").find("\"own\""), std::string::npos);
}

TEST(OwnNetwork, what_it_learnt_is_saved_loaded_and_exported) {
    const TemporaryFolder folder;
    const std::string path = folder / "own.safetensors", again = folder / "again.safetensors";
    Learner learner(tiny_dataset(), options(), {}, own());
    learner.fit();
    learner.save(path);
    const Evaluation expected = learner.evaluate();

    Model model(path, {.device = "cpu"}, own());
    EXPECT_EQ(model.info().arch, "own");
    const Evaluation got = model.evaluate(tiny_dataset().valid, tiny_dataset().classes);
    EXPECT_EQ(got.confusion, expected.confusion);
    EXPECT_NEAR(got.loss, expected.loss, 1e-5);
    const std::vector<std::string> files = {tiny_dataset().valid.front().path()};
    EXPECT_EQ(model.predict(files).front().top.front().label,
              learner.predict(files).front().top.front().label);

    EXPECT_EQ(export_model(path, folder / "own.onnx", {}, own()).format, "onnx");
    export_model(path, again, {}, own());
    EXPECT_EQ(Model(again, {.device = "cpu"}, own())
                  .evaluate(tiny_dataset().valid, tiny_dataset().classes)
                  .confusion,
              expected.confusion);

    TrainOptions from = options();
    from.init = path;
    Learner second(tiny_dataset(), from, {}, own());
    EXPECT_EQ(second.evaluate().confusion, expected.confusion);
}

TEST(OwnNetwork, without_a_batch_norm_it_learns_is_averaged_and_loaded_on_each_device) {
    const Architecture plain{
        .name = "plain", .description = "of a test", .build = [](const NetworkOptions& o) {
            Network net;
            net.begin_part("eye", 0);
            const int x = net.relu(net.conv2d("eye", net.input(3, o.size, o.size), 8, 3, 2, 1, true));
            net.begin_part("head", 1);
            net.linear("out", net.global_average_pool(x), o.classes);
            return net;
        }};
    const TemporaryFolder folder;
    for (const char* device : {"cpu", "emulated"}) {
        TrainOptions o = options();
        o.device = device;
        o.ema = 0.5;
        o.accumulate = 2;
        Learner learner(tiny_dataset(), o, {}, plain);
        const std::string before = learner.state_digest();
        EXPECT_TRUE(learner.fit().finished());
        EXPECT_NE(learner.state_digest(), before);
        const std::string path = folder / (std::string(device) + ".safetensors");
        learner.save(path);
        EXPECT_EQ(Model(path, {.device = device}, plain)
                      .evaluate(tiny_dataset().valid, tiny_dataset().classes)
                      .confusion,
                  learner.evaluate().confusion);
    }
}

TEST(OwnNetwork, files_of_it_are_no_models_of_another_network) {
    const TemporaryFolder folder;
    const std::string path = folder / "own.safetensors", built_in = folder / "built_in.safetensors";
    Learner(tiny_dataset(), options(), {}, own()).save(path);
    Learner(tiny_dataset(), tiny_options()).save(built_in);
    expect_refused(ErrorKind::model, "its network 'own' is not built in", [&] { Model{path}; });
    expect_refused(ErrorKind::model, "its network 'own' is not built in", [&] { read_model_info(path); });
    expect_refused(ErrorKind::model, "it is a resnet18; asked for is own",
                   [&] { Model(built_in, {}, own()); });
    expect_refused(ErrorKind::model, "its network 'own' is not built in",
                   [&] { Model(path, {}, own("other")); });
    TrainOptions from = options();
    from.init = built_in;
    expect_refused(ErrorKind::model, "it is a resnet18", [&] { Learner(tiny_dataset(), from, {}, own()); });
}

TEST(OwnNetwork, options_are_checked_against_it) {
    const auto refused = [](const std::string& says, const std::function<void(TrainOptions&)>& change) {
        TrainOptions o = options();
        change(o);
        expect_refused(ErrorKind::usage, says, [&] { Learner(tiny_dataset(), o, {}, own()); });
    };
    refused("between 16 and 4096", [](TrainOptions& o) { o.size = 15; });
    refused("one stem only", [](TrainOptions& o) { o.stem = Stem::small; });
    refused("a head of its own", [](TrainOptions& o) { o.head = Head::fastai; });
    refused("use none, eye or body", [](TrainOptions& o) { o.freeze = "layer1"; });
    for (const char* part : {"eye", "body"}) {
        TrainOptions o = options();
        o.freeze = part;
        EXPECT_NO_THROW(Learner(tiny_dataset(), o, {}, own())) << part;
    }
    expect_refused(ErrorKind::usage, "no such choice", [&] {
        TrainOptions o = options();
        o.arch = "own";
        Learner(tiny_dataset(), o);
    });
}

TEST(OwnNetwork, one_part_has_no_body_to_freeze) {
    const Architecture flat{.name = "flat", .build = [](const NetworkOptions& o) {
                                Network net;
                                const int x = net.batch_norm(
                                    "norm", net.conv2d("only", net.input(3, o.size, o.size), 4, 3, 2, 1));
                                net.linear("out", net.global_average_pool(net.relu(x)), o.classes);
                                return net;
                            }};
    TrainOptions o = options();
    EXPECT_NO_THROW(Learner(tiny_dataset(), o, {}, flat).fit());
    o.freeze_epochs = 1;
    expect_refused(ErrorKind::usage, "the network is one part",
                   [&] { Learner(tiny_dataset(), o, {}, flat); });
}

}  // namespace
}  // namespace onecycle
