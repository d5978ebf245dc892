// What an evaluation says about single images and classes, and which class lists it accepts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/file.h"
#include "formats/readers.h"
#include "formats/torch_builder.h"
#include "onecycle/error.h"
#include "onecycle/image.h"
#include "onecycle/model.h"
#include "onecycle/run_folder.h"
#include "onecycle/tensor_file.h"
#include "train/evaluator.h"
#include "train/log_rows.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::TemporaryFolder;
using testing::tiny_dataset;
using testing::tiny_options;

TEST(Evaluation, precision_recall_and_f1_are_those_of_the_counts) {
    // 8 of class a: 6 right, 2 taken for b. 4 of b: 1 right, 3 taken for a. None of c; nothing
    // taken for it.
    Evaluation e{.confusion = {{6, 2, 0}, {3, 1, 0}, {0, 0, 0}}};
    count_classes(e, {"a", "b", "c"});
    EXPECT_EQ(e.per_class[0].count, 8);
    EXPECT_EQ(e.per_class[0].predicted, 9);
    EXPECT_DOUBLE_EQ(e.per_class[0].recall, 6.0 / 8);
    EXPECT_DOUBLE_EQ(e.per_class[0].precision, 6.0 / 9);
    EXPECT_DOUBLE_EQ(e.per_class[0].f1, 2 * (0.75 * 6 / 9) / (0.75 + 6.0 / 9));
    EXPECT_DOUBLE_EQ(e.per_class[1].f1, 2.0 / 7);
    EXPECT_EQ(e.per_class[2].f1, 0);
    EXPECT_DOUBLE_EQ(e.balanced_accuracy, (0.75 + 0.25) / 2) << "a class without images does not count";

    const auto pairs = most_confused(e);
    ASSERT_EQ(pairs.size(), 2u);
    EXPECT_EQ(pairs[0].label, 1);
    EXPECT_EQ(pairs[0].predicted, 0);
    EXPECT_EQ(pairs[0].count, 3);
    EXPECT_EQ(most_confused(e, 1).size(), 1u);
}

// A model that has seen a little, and its file.
class SmallModel : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = new TemporaryFolder;
        TrainOptions options = tiny_options();
        options.epochs = 1;
        Learner learner(tiny_dataset(), options);
        learner.fit();
        learner.save(file());
    }
    static void TearDownTestSuite() { delete folder_; }
    static std::string file() { return *folder_ / "model.safetensors"; }

    // The same model with its classes, and with them the head's rows, in another order.
    static std::string reordered(const std::vector<std::size_t>& order) {
        std::string list;
        for (const std::size_t c : order)
            list += (list.empty() ? "[\"" : ",\"") + tiny_dataset().classes[c] + "\"";
        return changed(
            "reordered",
            [&](const std::string& name, std::vector<float>& values) {
                const std::vector<float> plain = values;
                const std::size_t row = plain.size() / order.size();
                for (std::size_t c = 0; name.starts_with("fc.") && c < order.size(); ++c)
                    std::copy_n(plain.begin() + static_cast<std::ptrdiff_t>(order[c] * row), row,
                                values.begin() + static_cast<std::ptrdiff_t>(c * row));
            },
            list + "]");
    }

    // The same model with other values, and perhaps another list of classes.
    static std::string changed(const std::string& title,
                               const std::function<void(const std::string&, std::vector<float>&)>& change,
                               const std::string& list = "") {
        const SafetensorsFile stored(file());
        std::map<std::string, std::vector<float>> values;
        std::vector<TensorSource> sources;
        for (const TensorInfo& tensor : stored.tensors()) {
            if (tensor.type != StoredType::f32) continue;
            values[tensor.name] = stored.read_floats(tensor.name);
            change(tensor.name, values[tensor.name]);
            sources.push_back(float_tensor(tensor.name, tensor.shape, values[tensor.name]));
        }
        auto metadata = stored.metadata();
        if (!list.empty()) metadata["classes"] = list;
        const std::string path = *folder_ / (title + ".safetensors");
        write_safetensors(path, sources, metadata);
        return path;
    }

    // The same model as torch.save would write it.
    static std::string as_torch_file(const std::string& name) {
        const SafetensorsFile stored(file());
        test::Zip zip{{{"archive/data.pkl", ""}, {"archive/version", "3\n"}}};
        std::vector<std::pair<std::string, std::string>> items;
        for (const TensorInfo& tensor : stored.tensors()) {
            if (tensor.type != StoredType::f32) continue;
            std::vector<std::int64_t> strides(tensor.shape.size(), 1);
            for (std::size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * tensor.shape[d];
            const std::string key = std::to_string(items.size());
            const auto elements = static_cast<std::int64_t>(tensor.bytes / sizeof(float));
            items.emplace_back(tensor.name, test::view(test::storage("FloatStorage", key, elements), 0,
                                                       tensor.shape, strides));
            std::string bytes(tensor.bytes, '\0');
            stored.read(tensor.name, std::as_writable_bytes(std::span(bytes)));
            zip.records.push_back({"archive/data/" + key, std::move(bytes)});
        }
        zip.records[0].bytes = test::whole(test::dictionary(items));
        const std::string path = *folder_ / name;
        write_file_atomically(posix_file_system(), path, zip.bytes());
        return path;
    }

    static void refused(const std::string& why, const std::function<void()>& use) {
        try {
            use();
            ADD_FAILURE() << "accepted: " << why;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::model);
            EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
        }
    }

    static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(SmallModel, the_images_with_the_highest_losses_are_named_and_the_figures_stay_the_same) {
    const std::vector<Sample> samples = all_samples(tiny_dataset());
    Model model(file(), {.batch_size = 8});  // a part batch at the end
    const Evaluation sums = model.evaluate(samples, tiny_dataset().classes);
    const Evaluation each = model.evaluate(samples, tiny_dataset().classes, {.top_losses = 1000});
    EXPECT_TRUE(sums.top_losses.empty());
    EXPECT_EQ(each.n, sums.n);
    EXPECT_NEAR(each.loss, sums.loss, 1e-6);
    EXPECT_EQ(each.confusion, sums.confusion);
    EXPECT_EQ(each.accuracy, sums.accuracy);
    EXPECT_EQ(each.top5, sums.top5);
    EXPECT_EQ(each.interval.low, sums.interval.low);
    EXPECT_EQ(each.balanced_accuracy, sums.balanced_accuracy);

    ASSERT_EQ(each.top_losses.size(), samples.size());
    double sum = 0;
    for (std::size_t i = 0; i < each.top_losses.size(); ++i) {
        const ImageLoss& image = each.top_losses[i];
        if (i > 0) {
            EXPECT_LE(image.loss, each.top_losses[i - 1].loss);
        }
        EXPECT_NEAR(image.probability, std::exp(-image.loss), 1e-12);
        sum += image.loss;
        const auto sample = std::find_if(samples.begin(), samples.end(),
                                         [&](const Sample& s) { return s.path() == image.file; });
        ASSERT_NE(sample, samples.end());
        EXPECT_EQ(sample->label, image.label);
    }
    EXPECT_NEAR(sum / static_cast<double>(samples.size()), sums.loss, 1e-6);
    const auto answer = model.predict({each.top_losses.front().file}, 1);
    EXPECT_EQ(answer[0].top[0].index, each.top_losses.front().predicted);
    EXPECT_EQ(model.evaluate(samples, tiny_dataset().classes, {.top_losses = 2}).top_losses.size(), 2u);
}

// A BMP of 32x32 pixels: those the network sees, without a resize. Rows run upwards, bytes are
// blue, green, red.
void write_bmp(const std::string& path, const Image& image, bool mirrored) {
    std::string bytes = {'B', 'M', 54, 12, 0, 0, 0, 0,  0, 0, 54, 0, 0, 0,  40,
                         0,   0,   0,  32, 0, 0, 0, 32, 0, 0, 0,  1, 0, 24, 0};
    bytes.resize(54, '\0');
    for (int y = 31; y >= 0; --y)
        for (int x = 0; x < 32; ++x)
            for (int c = 2; c >= 0; --c)
                bytes += static_cast<char>(
                    image.rgb[static_cast<std::size_t>((y * 32 + (mirrored ? 31 - x : x)) * 3 + c)]);
    std::ofstream(path, std::ios::binary) << bytes;
}

TEST_F(SmallModel, test_time_augmentation_is_the_mean_with_the_mirror_image) {
    std::vector<Sample> samples;
    std::vector<std::string> files, mirrors;
    for (const Sample& sample : all_samples(tiny_dataset())) {
        const Image image = resize_bilinear(read_image(sample.path()), 32, 32);
        files.push_back(*folder_ / (std::to_string(samples.size()) + ".bmp"));
        mirrors.push_back(*folder_ / (std::to_string(samples.size()) + "m.bmp"));
        write_bmp(files.back(), image, false);
        write_bmp(mirrors.back(), image, true);
        samples.push_back({.place = ImagePlace(files.back(), ""),
                           .label = sample.label,
                           .bytes = std::filesystem::file_size(files.back())});
    }
    Model model(file(), {.batch_size = 8});
    const auto plain = model.predict(files, 3), other = model.predict(mirrors, 3);
    double loss = 0;
    std::int64_t correct = 0;
    for (std::size_t i = 0; i < files.size(); ++i) {
        std::array<double, 3> mean{};
        for (const auto* answer : {&plain[i], &other[i]})
            for (const auto& entry : answer->top)
                mean[static_cast<std::size_t>(entry.index)] += entry.probability / 2;
        loss -=
            std::log(mean[static_cast<std::size_t>(samples[i].label)]) / static_cast<double>(files.size());
        correct += std::max_element(mean.begin(), mean.end()) - mean.begin() == samples[i].label;
    }
    const Evaluation augmented = model.evaluate(samples, tiny_dataset().classes, {.tta = true});
    EXPECT_NEAR(augmented.loss, loss, 1e-5);
    EXPECT_EQ(augmented.accuracy, static_cast<double>(correct) / static_cast<double>(files.size()));
    EXPECT_GT(std::abs(augmented.loss - model.evaluate(samples, tiny_dataset().classes).loss), 1e-4);
}

TEST_F(SmallModel, the_same_classes_in_another_order_are_matched_by_name) {
    const Dataset dataset = tiny_dataset();
    const std::string other = reordered({2, 0, 1});
    const Evaluation expected = Model(file()).evaluate(dataset.valid, dataset.classes);
    const Evaluation matched = Model(other).evaluate(dataset.valid, dataset.classes);
    EXPECT_EQ(matched.accuracy, expected.accuracy);
    EXPECT_NEAR(matched.loss, expected.loss, 1e-6);
    EXPECT_EQ(matched.per_class[0].name, dataset.classes[2]);
    EXPECT_EQ(matched.per_class[0].correct, expected.per_class[2].correct);

    // A training that starts from it has the head's rows where they belong.
    const auto start = [&](const std::string& init, std::string& said) {
        TrainOptions options = tiny_options();
        options.init = init;
        Observer observer;
        observer.log = [&](LogLevel, const std::string& line) { said += line + "\n"; };
        Learner learner(dataset, options, observer);
        learner.save(*folder_ / "start.safetensors");
        return SafetensorsFile(*folder_ / "start.safetensors").read_floats("fc.weight");
    };
    std::string same, moved;
    EXPECT_EQ(start(other, moved), start(file(), same));
    EXPECT_NE(moved.find("matched by name"), std::string::npos) << moved;
    EXPECT_EQ(same.find("head"), std::string::npos) << same;
}

TEST_F(SmallModel, finite_weights_without_a_finite_answer_are_refused) {
    const std::vector<Sample> samples = all_samples(tiny_dataset());
    const std::string negative = changed("negative", [](const std::string& name, std::vector<float>& values) {
        if (name == "bn1.running_var") values.back() = -1;
    });
    refused("bn1.running_var holds a negative variance",
            [&] { Model(negative, {}).predict({samples[0].path()}, 1); });

    const std::string huge = changed("huge", [](const std::string& name, std::vector<float>& values) {
        if (name == "layer4.1.bn2.weight" || name == "fc.weight") std::ranges::fill(values, 3e38F);
    });
    Model model(huge, {.batch_size = 8});
    refused("not finite", [&] { model.predict({samples[0].path()}, 1); });
    refused("not finite", [&] { model.evaluate(samples, tiny_dataset().classes); });
    refused("not finite", [&] { model.evaluate(samples, tiny_dataset().classes, {.top_losses = 1}); });
}

TEST_F(SmallModel, a_list_that_names_a_class_twice_or_is_none_is_refused) {
    for (const char* none : {"[1,2,3]", "{}", "daisy,rose"}) {
        const std::string unreadable = changed(
            "unreadable", [](const auto&, auto&) {}, none);
        refused("its list of classes is not readable", [&] { Model{unreadable}; });
    }
    const std::string twice = changed(
        "twice", [](const auto&, auto&) {}, R"(["a","b","a"])");
    refused("names a class twice", [&] { Model{twice}; });
}

// Whoever uses it, not only a training that starts from it.
TEST_F(SmallModel, a_file_that_is_not_the_one_that_torchvision_named_so_is_refused) {
    const std::vector<std::string> image = {all_samples(tiny_dataset())[0].path()};
    for (const char* name : {"resnet18-20251125.pth", "resnet18-deadbeef.pth", "my-resnet18-f37072fd.pth"})
        EXPECT_EQ(Model(as_torch_file(name)).predict(image, 1)[0].error, "") << name;
    const std::string other = as_torch_file("resnet18-f37072fd.pth");
    refused("not with f37072fd as its name says", [&] { Model{other}; });
    refused("not with f37072fd as its name says", [&] { read_model_info(other); });
}

TEST_F(SmallModel, other_classes_are_refused_with_the_difference) {
    const Dataset dataset = tiny_dataset();
    const auto refused = [&](const std::vector<std::string>& classes) -> std::string {
        try {
            Model(file()).evaluate(dataset.valid, classes);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::model);
            return error.what();
        }
        return "not refused";
    };
    const auto& names = dataset.classes;
    EXPECT_NE(refused({names[0], names[1], "z"})
                  .find("the folder lacks 1 of its classes (" + names[2] + ") and has 1 other (z)"),
              std::string::npos)
        << refused({names[0], names[1], "z"});
    EXPECT_NE(refused({names[0], names[1], names[2], "v", "w", "x", "y", "z"})
                  .find("the folder has 5 others (v, w, x and 2 more)"),
              std::string::npos);
    EXPECT_NE(refused({names[0], names[1], names[2] + "\xC2\xA0"})  // looks as the model's
                  .find(names[2] + "<U+00A0>"),
              std::string::npos);
}

TEST_F(SmallModel, classes_that_the_folder_lacks_count_in_no_figure) {
    const Dataset dataset = tiny_dataset();
    std::vector<Sample> samples;
    for (const Sample& sample : dataset.train)
        if (sample.label != 1) {
            samples.push_back(sample);
            samples.back().label = sample.label == 2 ? 0 : 1;
        }
    std::string log;
    Model model(file(), {.log = [&](LogLevel, const std::string& line) { log += line + "\n"; }});
    const Evaluation part = model.evaluate(samples, {dataset.classes[2], dataset.classes[0]});
    EXPECT_NE(log.find("lacks 1 of its classes (" + dataset.classes[1] + ")"), std::string::npos) << log;
    ASSERT_EQ(part.per_class.size(), 3u);
    EXPECT_EQ(part.n, 20);
    EXPECT_EQ(part.per_class[1].count, 0);
    EXPECT_DOUBLE_EQ(part.balanced_accuracy, (part.per_class[0].recall + part.per_class[2].recall) / 2);
}

// Running means far from the images' own: the training, which norms by the batch, does not feel
// them at once.
TEST_F(SmallModel, a_loss_far_above_guessing_is_warned_of_once_and_one_that_is_not_finite_ends_the_training) {
    TrainOptions options = tiny_options();
    options.max_lr = 1e-3;
    for (const float mean : {-1e4F, -3e38F}) {
        options.init = changed("start", [&](const std::string& name, std::vector<float>& values) {
            if (name == (mean > -1e5F ? "layer4.1.bn2.running_mean" : "layer4.1.bn1.running_mean"))
                std::ranges::fill(values, mean);
        });
        const std::string path = *folder_ / (mean > -1e5F ? "high" : "none");
        RunFolder run = RunFolder::create(path);
        std::vector<std::string> warnings;
        Observer observer;
        observer.log = [&](LogLevel level, const std::string& line) {
            if (level == LogLevel::warning) warnings.push_back(line);
        };
        Learner learner(tiny_dataset(), options, observer);
        if (mean > -1e5F) {
            learner.fit({.run = &run});
            ASSERT_EQ(warnings.size(), 1u);
            EXPECT_NE(warnings[0].find("epoch 0: the evaluation loss is"), std::string::npos) << warnings[0];
            EXPECT_NE(warnings[0].find("--max-lr 0.0001"), std::string::npos) << warnings[0];
            continue;
        }
        try {
            learner.fit({.run = &run});
            ADD_FAILURE() << "went on";
        } catch (const Error& error) {
            EXPECT_EQ(error.exit_code(), 6);
            const auto kept = newest_valid_checkpoint(path);
            ASSERT_TRUE(kept.has_value());
            EXPECT_EQ(kept->step, 3) << "the end of the first epoch";
            EXPECT_NE(std::string(error.what()).find("epoch 0: the evaluation's loss is not finite"),
                      std::string::npos)
                << error.what();
            EXPECT_NE(std::string(error.what()).find(kept->path + " is kept"), std::string::npos)
                << error.what();
        }
        const std::string metrics = run.read("metrics.csv");
        EXPECT_EQ(metrics.find("nan"), std::string::npos) << metrics;
        EXPECT_EQ(metrics.find("inf"), std::string::npos) << metrics;
        const auto row = parse_metrics(metrics).at(0);
        EXPECT_TRUE(std::isnan(row.valid_loss)) << metrics;
        EXPECT_TRUE(std::isfinite(row.train_loss) && row.lr > 0 && row.seconds > 0) << metrics;
    }
}

}  // namespace
}  // namespace onecycle
