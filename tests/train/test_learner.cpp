// What a learner promises: equal runs give equal bytes, and what is evaluated is what is saved.
#include "onecycle/learner.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "formats/readers.h"
#include "onecycle/error.h"
#include "onecycle/tensor_file.h"
#include "train/tiny.h"

namespace onecycle {
namespace {

using testing::read_text;
using testing::TemporaryFolder;
using testing::tiny_dataset;
using testing::tiny_images;
using testing::tiny_options;

// What a program says that only knows the folder.
TrainOptions options_opening(const std::string& data) {
    return {.data = data};
}

std::string first_folder(const std::string& path) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path))
        if (entry.is_directory()) names.push_back(entry.path().filename());
    return *std::min_element(names.begin(), names.end());
}

FitResult fit_into(const std::string& out, const TrainOptions& options, Observer observer = {}) {
    Learner learner(tiny_dataset(), options, std::move(observer));
    RunFolder run = RunFolder::create(out);
    return learner.fit({.run = &run});
}

TEST(Learner, equal_runs_give_equal_bytes_for_any_number_of_threads) {
    const TemporaryFolder folder;
    std::string checkpoint, steps;
    for (int threads : {1, 2, 4}) {
        TrainOptions options = tiny_options();
        options.threads = threads;
        const FitResult result = fit_into(folder / std::to_string(threads), options);
        EXPECT_TRUE(result.finished());
        const std::string bytes = read_text(result.checkpoint);
        const std::string rows = read_text(folder / (std::to_string(threads) + "/steps.csv"));
        if (threads == 1) {
            checkpoint = bytes;
            steps = rows;
        }
        EXPECT_GT(bytes.size(), std::size_t{80'000'000});
        EXPECT_TRUE(bytes == checkpoint) << threads << " threads";
        EXPECT_EQ(rows, steps);
    }
}

TEST(Learner, a_run_folder_tells_the_whole_story) {
    const TemporaryFolder folder;
    std::vector<StepReport> steps;
    std::vector<EpochReport> epochs;
    const FitResult result = fit_into(folder / "run", tiny_options(),
                                      {.on_step = [&](const StepReport& r) { steps.push_back(r); },
                                       .on_epoch = [&](const EpochReport& r) { epochs.push_back(r); }});
    ASSERT_EQ(steps.size(), 6u);
    ASSERT_EQ(epochs.size(), 2u);
    const Schedule schedule = make_schedule(policy_options(tiny_options()), {2, 3}, 0.02);
    double sum = 0;
    for (std::size_t k = 0; k < 6; ++k) {
        EXPECT_EQ(steps[k].step, static_cast<std::int64_t>(k));
        EXPECT_DOUBLE_EQ(steps[k].lr, evaluate(schedule, static_cast<std::int64_t>(k)).lr);
        EXPECT_DOUBLE_EQ(steps[k].momentum, evaluate(schedule, static_cast<std::int64_t>(k)).momentum);
        if (k < 3) sum += steps[k].loss;
    }
    EXPECT_DOUBLE_EQ(epochs[0].train_loss, sum / 3);
    EXPECT_TRUE(epochs[0].interval.has_value()) << "6 images are few";

    EXPECT_EQ(read_text(folder / "run/latest"), "step-000006.safetensors\n");
    const bool first_is_best =
        epochs[0].accuracy > epochs[1].accuracy ||
        (epochs[0].accuracy == epochs[1].accuracy && epochs[0].valid_loss < epochs[1].valid_loss);
    EXPECT_EQ(read_text(folder / "run/best"),
              first_is_best ? "step-000003.safetensors\n" : "step-000006.safetensors\n");
    EXPECT_EQ(result.best_epoch, first_is_best ? 0 : 1);

    const TrainOptions written =
        train_options_from_json(read_text(folder / "run/config.json"), "config.json");
    EXPECT_TRUE(changed_options(resolved(tiny_options()), written).empty());

    const SafetensorsFile file(result.checkpoint);
    EXPECT_EQ(file.digest(), result.digest);
    EXPECT_EQ(file.metadata().at("step"), "6");
    ASSERT_NE(file.find("bn1.num_batches_tracked"), nullptr);
    std::int64_t batches = 0;
    file.read("bn1.num_batches_tracked", std::as_writable_bytes(std::span(&batches, 1)));
    EXPECT_EQ(batches, 6);
    for (const auto& [key, value] : file.metadata())
        EXPECT_EQ(value.find('/'), std::string::npos) << "no path in a checkpoint: " << key;
}

// Who reads only what a run wrote gets the sides that it was trained with, whatever options said.
TEST(Learner, a_checkpoint_and_config_record_the_split_that_the_data_set_was_opened_with) {
    const TemporaryFolder folder;
    const Dataset dataset = open_dataset(tiny_images(), {.valid_fraction = 0.34, .seed = 7});
    ASSERT_NE(digest(dataset), digest(tiny_dataset()));
    TrainOptions options = tiny_options();  // seed 0, a fifth of each class
    options.epochs = 1;
    options.data = "elsewhere";
    const std::string path = folder / "run";
    FitResult result;
    {
        Learner learner(dataset, options);
        EXPECT_EQ(learner.options().data, tiny_images());
        RunFolder run = RunFolder::create(path);
        result = learner.fit({.run = &run});
    }
    const ModelInfo info = read_model_info(result.checkpoint);
    const RecordedSplit split = recorded_split(info).value();
    EXPECT_EQ(split.seed, 7u);
    EXPECT_EQ(split.valid_fraction, 0.34);
    EXPECT_TRUE(trained_on(
        info, open_dataset(tiny_images(), {.valid_fraction = split.valid_fraction, .seed = split.seed})));

    const TrainOptions written = train_options_from_json(read_text(path + "/config.json"), "config.json");
    EXPECT_EQ(written.seed, 0u) << "of all else that is random";
    EXPECT_EQ(digest(open_dataset(written.data, dataset_options(written))), digest(dataset));
    EXPECT_EQ(digest(reopen_dataset(path, written)), digest(dataset));
    // A list that changed since then is split by the checkpoint's word, and recorded so again.
    Learner again(reopen_dataset(path, options_opening(tiny_images())), written);
    EXPECT_EQ(dataset_options(again.options()).seed, 7u);
    EXPECT_EQ(again.options().valid_fraction, 0.34);
    RunFolder run = RunFolder::open(path);
    EXPECT_TRUE(again.fit({.run = &run}).finished());
}

TEST(Learner, opens_a_folder_as_the_command_line_does) {
    const TemporaryFolder folder;
    const std::string images = folder / "images";
    make_demo_data(images, {.classes = 2, .images_per_class = 6, .size = 40});
    std::ofstream(images + "/" + first_folder(images) + "/torn.png") << "no image";
    TrainOptions options = tiny_options();
    options.data = images;
    options.valid_fraction = 0.34;
    options.max_bad = 0.2;
    options.seed = 5;
    std::string said;
    const Learner learner(options, {.log = [&](LogLevel, const std::string& line) { said += line; }});
    EXPECT_NE(said.find("torn.png"), std::string::npos) << said;
    EXPECT_EQ(learner.dataset().bad.size(), 1u);
    EXPECT_EQ(digest(learner.dataset()), digest(open_dataset(images, dataset_options(options))));
    EXPECT_EQ(to_json(learner.options()).find("split_seed"), std::string::npos) << "the seed says it";
    options.data = folder / "nowhere";
    EXPECT_THROW(Learner{options}, Error);
}

// Loss and accuracy of a saved model, from its probabilities for each image alone.
TEST(Learner, evaluation_is_exact_on_part_batches_and_agrees_with_the_saved_model) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_options();
    options.batch_size = 4;  // the 6 images of evaluation are a batch and a half
    options.epochs = 1;
    Learner learner(tiny_dataset(), options);
    const FitResult result = learner.fit();
    const Evaluation evaluation = learner.evaluate();
    EXPECT_EQ(evaluation.n, 6);
    EXPECT_DOUBLE_EQ(evaluation.loss, result.epochs.back().valid_loss);
    learner.save(folder / "model.safetensors");

    const Dataset dataset = tiny_dataset();
    std::vector<std::string> files;
    for (const Sample& sample : dataset.valid) files.push_back(sample.path());
    double loss = 0;
    std::int64_t correct = 0;
    Model one_by_one(folder / "model.safetensors", {.batch_size = 1});
    const auto predictions = one_by_one.predict(files, 3);
    for (std::size_t i = 0; i < files.size(); ++i) {
        ASSERT_EQ(predictions[i].top.size(), 3u);
        double sum = 0;
        for (const auto& entry : predictions[i].top) {
            sum += entry.probability;
            EXPECT_EQ(entry.label, dataset.classes[static_cast<std::size_t>(entry.index)]);
            if (entry.index == dataset.valid[i].label) loss -= std::log(entry.probability) / 6;
        }
        EXPECT_NEAR(sum, 1, 1e-6);
        correct += predictions[i].top.front().index == dataset.valid[i].label;
    }
    EXPECT_NEAR(evaluation.loss, loss, 1e-5 * loss);  // fp32: other batch sizes sum in another order
    EXPECT_DOUBLE_EQ(evaluation.accuracy, static_cast<double>(correct) / 6);
    EXPECT_DOUBLE_EQ(evaluation.top5, 1);
    std::int64_t all = 0, diagonal = 0;
    for (std::size_t a = 0; a < 3; ++a)
        for (std::size_t b = 0; b < 3; ++b) {
            all += evaluation.confusion[a][b];
            diagonal += a == b ? evaluation.confusion[a][b] : 0;
        }
    EXPECT_EQ(all, 6);
    EXPECT_EQ(diagonal, correct);

    for (int batch : {1, 4, 64}) {
        Model model(folder / "model.safetensors", {.batch_size = batch});
        const Evaluation again = model.evaluate(dataset.valid, dataset.classes);
        EXPECT_NEAR(again.loss, evaluation.loss, 1e-5 * loss);
        EXPECT_EQ(again.confusion, evaluation.confusion);
    }
    // Equal programs give equal bits, whoever runs them.
    const auto ours = learner.predict(files, 2);
    Model model(folder / "model.safetensors", {.batch_size = 4});
    const auto theirs = model.predict(files, 2);
    for (std::size_t i = 0; i < files.size(); ++i)
        EXPECT_EQ(ours[i].top.front().probability, theirs[i].top.front().probability);
    EXPECT_THROW(learner.predict(files, 0), Error);
    EXPECT_THROW(model.predict(files, 0), Error);
}

TEST(Learner, keeps_no_global_state_in_openmp) {
    const int before = omp_get_max_threads();
    TrainOptions options = tiny_options();
    options.threads = before + 1;
    options.epochs = 1;
    Learner learner(tiny_dataset(), options);
    EXPECT_EQ(omp_get_max_threads(), before);
    learner.fit();
    EXPECT_EQ(omp_get_max_threads(), before);
}

TEST(Learner, a_file_with_other_metadata_is_understood_or_refused) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_options();
    options.epochs = 1;
    Learner(tiny_dataset(), options).save(folder / "model.safetensors");
    const SafetensorsFile file(folder / "model.safetensors");
    const std::string path = folder / "copy.safetensors";
    const auto copy = [&](const std::map<std::string, std::string>& metadata) {
        std::vector<std::byte> bytes;
        std::vector<TensorSource> sources;
        for (const TensorInfo& tensor : file.tensors())
            sources.push_back({tensor.name, tensor.type, tensor.shape, [&file, &bytes, &tensor] {
                                   bytes.resize(tensor.bytes);
                                   file.read(tensor.name, bytes);
                                   return std::span<const std::byte>(bytes);
                               }});
        write_safetensors(path, sources, metadata);
    };

    // No names, or what is no list of names: the folder's classes are taken in order.
    for (const auto& metadata :
         {std::map<std::string, std::string>{}, {{"classes", "x,y,z"}}, {{"classes", "[1,2,3]"}}}) {
        copy(metadata);
        EXPECT_FALSE(read_model_info(path).named);
        EXPECT_EQ(read_model_info(path).classes, (std::vector<std::string>{"0", "1", "2"}));
    }
    Model model(path, {.size = 32});
    const Evaluation evaluation = model.evaluate(tiny_dataset().valid, {"x", "y", "z"});
    EXPECT_EQ(evaluation.per_class[1].name, "y");

    for (const auto& [key, value] :
         std::vector<std::pair<std::string, std::string>>{{"size", "-5"},
                                                          {"size", "1e12"},
                                                          {"crop_pct", "7"},
                                                          {"mean", "nan,0,0"},
                                                          {"std", "0,1,1"},
                                                          {"split_fraction", "nan"},
                                                          {"split_fraction", "-0.1"},
                                                          {"split_fraction", "1"},
                                                          {"split_fraction", "inf"}}) {
        copy({{key, value}});
        try {
            read_model_info(path);
            FAIL() << key << " " << value;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::model);
            EXPECT_NE(std::string(error.what()).find(key), std::string::npos);
        }
    }
}

TEST(Learner, a_file_of_other_tensors_is_refused_with_all_that_is_wrong) {
    const TemporaryFolder folder;
    Learner(tiny_dataset(), tiny_options()).save(folder / "model.safetensors");
    const SafetensorsFile file(folder / "model.safetensors");
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, std::vector<std::int64_t>> shapes;
    for (const TensorInfo& tensor : file.tensors())
        if (tensor.type == StoredType::f32) {
            values[tensor.name] = file.read_floats(tensor.name);
            shapes[tensor.name] = tensor.shape;
        }
    const std::string path = folder / "changed.safetensors";
    const auto refusal = [&] {
        std::vector<TensorSource> sources;
        for (const auto& [name, shape] : shapes)
            sources.push_back(float_tensor(name, shape, values.at(name)));
        write_safetensors(path, sources, {});
        try {
            const Model model(path, {.size = 32});
        } catch (const Error& error) {
            return error.exit_code() == 4 ? std::string(error.what()) : "another exit code";
        }
        return std::string();
    };
    EXPECT_EQ(refusal(), "");
    values["bn1.running_var"].back() = -1;  // its root would make every answer NaN
    EXPECT_NE(refusal().find("bn1.running_var holds a negative variance"), std::string::npos) << refusal();
    shapes["bn1.running_var"] = {1, static_cast<std::int64_t>(values["bn1.running_var"].size())};
    shapes.erase("layer1.0.bn1.bias");
    shapes["more"] = {1};
    values["more"] = {0};
    for (const char* part :
         {"lacks layer1.0.bn1.bias", "has other shapes: bn1.running_var is [1,", "also holds more"})
        EXPECT_NE(refusal().find(part), std::string::npos) << part << " in " << refusal();
}

TEST(Learner, with_an_ema_the_plain_names_hold_what_was_evaluated) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_options();
    options.ema = 0.5;
    const FitResult result = fit_into(folder / "run", options);
    const SafetensorsFile file(result.checkpoint);
    const auto ema = file.read_floats("fc.weight"), raw = file.read_floats("training.fc.weight");
    EXPECT_NE(ema, raw);
    const Dataset dataset = tiny_dataset();
    Model model(result.checkpoint, {.batch_size = 8});
    // Compiled for the 6 images there are, not for 8: sums in another order.
    const double loss = result.epochs.back().valid_loss;
    EXPECT_NEAR(model.evaluate(dataset.valid, dataset.classes).loss, loss, 1e-5 * loss);
}

TEST(Learner, an_update_of_two_batches_counts_once) {
    TrainOptions options = tiny_options();
    options.batch_size = 4;
    options.accumulate = 2;
    std::vector<std::int64_t> steps;
    Learner learner(tiny_dataset(), options,
                    {.on_step = [&](const StepReport& r) { steps.push_back(r.step); }});
    EXPECT_EQ(learner.steps_per_epoch(), 3);
    EXPECT_EQ(learner.fit().step, 6);
    EXPECT_EQ(steps, (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}));
}

// Evaluation sees the images as they are; what training sees of them shows in its loss.
TEST(Learner, mixes_training_images_alone) {
    TrainOptions options = tiny_options();
    options.epochs = 1;
    double first_loss = 0;
    const auto first_of = [&](const StepReport& report) {
        if (report.step == 0) first_loss = report.loss;
    };
    double plain = 0;
    std::set<double> first_losses;
    for (const auto& [mixup, cutmix] : {std::pair{0.0, 0.0}, {0.4, 0.0}, {0.0, 1.0}, {0.4, 1.0}}) {
        options.mixup = mixup;
        options.cutmix = cutmix;
        Learner learner(tiny_dataset(), options, {.on_step = first_of});
        const double loss = learner.evaluate().loss;
        if (first_losses.empty()) plain = loss;
        EXPECT_EQ(loss, plain);
        learner.fit();
        first_losses.insert(first_loss);
    }
    EXPECT_EQ(first_losses.size(), 4u);
}

TEST(Learner, learns_from_images_that_are_all_mixed) {
    const TemporaryFolder folder;
    const std::string images = folder / "images";
    make_demo_data(images, {.classes = 3, .images_per_class = 60, .size = 40});
    TrainOptions options = tiny_options();
    options.data = images;
    options.augment = AugmentPolicy::flip;
    options.batch_size = 16;
    options.epochs = 8;
    options.optimizer = OptimizerKind::adamw;
    options.max_lr = 0.001;
    options.mixup = 0.4;
    options.cutmix = 1;
    const Dataset dataset = open_dataset(images);
    Learner learner(dataset, options);
    const FitResult result = learner.fit();
    EXPECT_LT(result.epochs.back().train_loss, 0.9 * result.epochs.front().train_loss);
    EXPECT_GT(learner.evaluate(dataset.train).accuracy, 0.55) << "a third is chance";
}

TEST(Learner, divergence_names_step_and_tensor_and_keeps_the_last_checkpoint) {
    const TemporaryFolder folder;
    TrainOptions options = tiny_options();
    options.policy = "constant";
    options.max_lr = 1e30;
    options.checkpoint_every = 1;
    try {
        fit_into(folder / "run", options);
        FAIL() << "it should have diverged";
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), 6);
        const std::string text = error.what();
        EXPECT_NE(text.find("step 1"), std::string::npos) << text;
        EXPECT_NE(text.find("is not finite"), std::string::npos) << text;
        EXPECT_NE(text.find("step-000001.safetensors is kept"), std::string::npos) << text;
        EXPECT_NE(text.find("--max-lr"), std::string::npos) << text;
    }
    const auto kept = newest_valid_checkpoint(folder / "run");
    ASSERT_TRUE(kept.has_value());
    EXPECT_EQ(kept->step, 1);
    const SafetensorsFile file(kept->path);
    for (float value : file.read_floats("layer1.0.conv1.weight")) ASSERT_TRUE(std::isfinite(value));
}

TEST(Learner, a_set_smaller_than_a_batch_is_one_full_batch) {
    TrainOptions options = tiny_options();
    options.batch_size = 64;
    options.epochs = 1;
    Learner learner(tiny_dataset(), options);
    EXPECT_EQ(learner.steps_per_epoch(), 1);
    EXPECT_TRUE(std::isfinite(learner.fit().epochs.back().train_loss));
}

TEST(Learner, balanced_weights_make_rare_classes_count) {
    Dataset dataset = tiny_dataset();
    std::erase_if(dataset.train, [left = 2](const Sample& s) mutable { return s.label == 0 && left-- <= 0; });
    TrainOptions options = tiny_options();
    options.epochs = 1;
    options.batch_size = 16;
    std::vector<double> losses;
    for (bool balanced : {false, true}) {
        options.balanced_class_weights = balanced;
        Learner learner(dataset, options,
                        {.on_step = [&](const StepReport& r) { losses.push_back(r.loss); }});
        learner.fit();
    }
    // The first batch, before any update: the same logits, other weights.
    EXPECT_NE(losses.front(), losses[losses.size() / 2]);
}

TEST(Learner, the_first_lines_tell_classes_steps_and_what_is_too_little) {
    const Learner learner(tiny_dataset(), tiny_options());
    std::string text;
    for (const std::string& line : learner.describe()) text += line + "\n";
    EXPECT_NE(text.find("3 classes, 30 images to train on, 6 to evaluate on"), std::string::npos) << text;
    EXPECT_NE(text.find("10 + 2"), std::string::npos) << text;
    EXPECT_NE(
        text.find("2 epochs of 3 steps: 6 steps\n6 steps in all is too few: --epochs 67 would make 201"),
        std::string::npos)
        << text;
    EXPECT_NE(text.find("--stem small"), std::string::npos) << text;
}

TEST(Wilson, interval_matches_published_values) {
    // Newcombe 1998, table I, method 3 (score without continuity correction): 81/263, 15/148, 0/20,
    // 1/29.
    const auto expect = [](std::int64_t correct, std::int64_t n, double low, double high) {
        const Interval interval = wilson_interval(correct, n);
        EXPECT_NEAR(interval.low, low, 5e-5);
        EXPECT_NEAR(interval.high, high, 5e-5);
    };
    expect(81, 263, 0.2553, 0.3662);
    expect(15, 148, 0.0624, 0.1605);
    expect(0, 20, 0.0000, 0.1611);
    expect(1, 29, 0.0061, 0.1718);
}

}  // namespace
}  // namespace onecycle
