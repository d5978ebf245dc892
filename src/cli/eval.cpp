// onecycle eval: loss, accuracy and confusion of a model on a folder of images.
#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "cli/image_progress.h"
#include "cli/json.h"
#include "cli/model_options.h"
#include "cli/shared_dataset.h"
#include "cli/training_options.h"
#include "cli/verb.h"
#include "core/echoed.h"
#include "core/file.h"
#include "core/signals.h"
#include "device/communicator.h"
#include "onecycle/chart.h"
#include "onecycle/dataset.h"
#include "onecycle/error.h"
#include "onecycle/evaluation.h"
#include "onecycle/model.h"
#include "onecycle/tensor_file.h"
#include "train/engine.h"
#include "train/image_store.h"
#include "train/recorded_images.h"

namespace onecycle::cli {

namespace {

class Eval : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("DATA", data_, "the folder of images, or shards of them (.tar)");
        declare_model_options(a, model_, model_options_);
        a.group("Images");
        a.text("--valid", "DIR", valid_, "the evaluation images, when they are elsewhere");
        a.flag("--all", all_, "every image in DATA, also those that the model was trained on");
        declare_reading(a, exclude_, labels_, label_from_);
        a.group("Report");
        a.whole("--top-losses", options_.top_losses, "name so many images with the highest losses");
        a.flag("--tta", options_.tta,
               "test-time augmentation: the mean over each image and its mirror image");
        a.text("--svg", "FILE", svg_, "the confusion matrix as a picture");
        a.flag("--force", force_, "replace the file of --svg also where onecycle did not draw it");
        a.group("Images");
        declare_bad_images(a, bad_images_, max_bad_);
        declare_image_limits(a, model_options_.max_pixels, model_options_.decode_memory);
        declare_console_options(a, console_options_, true);
    }

    bool runs_on_ranks() const override { return true; }

    int run(const Arguments&, Console& console) override {
        model_options_.ranks = console.ranks();
        require_data(data_, "eval");
        require_model(model_);
        model_ = newest_run(model_, console);
        SignalGuard guard;
        guard.answer(console.stop_answer(nothing_begun));
        model_options_.log = console.log();
        model_options_.bad_images = bad_images_;
        model_options_.max_bad = max_bad_;
        std::int64_t images = 0;
        std::optional<ImageProgress> progress;
        model_options_.stop = [&] {  // asked before each batch
            if (progress) progress->done(images);
            images += model_options_.batch_size * (console.ranks() ? console.ranks()->place().ranks : 1);
            return stop_signal();
        };
        // What cannot be written is better known before the work than after it.
        const OutputRule replaced{.force = force_, .own_mark = chart::svg_mark};
        if (!svg_.empty() && console.leads()) check_output(posix_file_system(), svg_, replaced);
        Model model(model_, model_options_);
        read_as_in_training(console);
        const Dataset dataset = shared_dataset(console, [&] { return open(model.info(), console); });
        guard.answer(console.stop_answer(after_this_batch));
        std::optional<UnseenImages> split;
        const std::vector<Sample> samples = choose(model.info(), dataset, split, console);
        progress.emplace(console, "eval", std::ssize(samples));
        const Evaluation evaluation = model.evaluate(samples, dataset.classes, options_);
        if (console.json())
            console.result(to_json(evaluation, split));
        else
            console.report(report(evaluation, console.report_columns()));
        if (!svg_.empty() && console.leads())
            write_output(posix_file_system(), svg_, confusion_svg(evaluation), replaced);
        return 0;
    }

  private:
    // Where DATA is the folder of the model's own run, it is read as that run did, unless the user
    // says how.
    void read_as_in_training(Console& console) {
        namespace fs = std::filesystem;
        std::error_code unknown;
        const std::string run =
            fs::is_directory(model_, unknown) ? model_ : parent_directory(parent_directory(model_));
        if (!fs::exists(run + "/config.json", unknown)) return;
        TrainOptions trained;
        try {
            trained = options_of_run(run);
        } catch (const Error&) {
            return;  // some other program's config.json
        }
        if (!fs::equivalent(trained.data, data_, unknown)) return;
        std::string taken;
        const auto take = [&](auto& mine, const auto& its, const char* option) {
            if (!mine.empty() || its.empty()) return;
            mine = its;
            taken += (taken.empty() ? "" : ", ") + std::string(option);
        };
        take(exclude_, trained.exclude, "--exclude");
        if (labels_.empty() && label_from_.empty()) {
            take(labels_, trained.labels, "--labels");
            take(label_from_, trained.label_from, "--label-from");
        }
        if (!all_) take(valid_, trained.valid, "--valid");
        if (!taken.empty()) console.say("Reading this folder as the training did: " + taken + ".");
    }

    Dataset open(const ModelInfo& info, Console& console) const {
        DatasetOptions options;
        options.valid_dir = valid_;
        options.threads = worker_threads(model_options_.threads);
        options.stop = stop_signal;
        options.use = all_ ? DatasetUse::everything : DatasetUse::evaluation;
        options.bad_images = bad_images_;
        options.max_bad = max_bad_;
        options.exclude = exclude_;
        options.labels = labels_;
        options.label_from = label_from_;
        options.max_pixels = model_options_.max_pixels;
        options.decode_memory = model_options_.decode_memory;
        options.index_folder = default_cache_folder();
        options.progress = look_progress(console);
        options.log = console.log();
        if (const auto split = recorded_split(info)) {
            options.seed = split->seed;
            options.valid_fraction = split->valid_fraction;
        }
        return open_dataset(data_, options);
    }

    // Those that the model was not trained on, as far as its file says. `split`: what that file
    // knows of them.
    std::vector<Sample> choose(const ModelInfo& info, const Dataset& dataset,
                               std::optional<UnseenImages>& split, Console& console) const {
        if (all_) return all_samples(dataset);
        std::vector<Sample> samples = dataset.automatic_split ? all_samples(dataset) : dataset.valid;
        if (const auto list = recorded_images(*open_tensor_file(info.path))) {
            UnseenImages unseen =
                unseen_images(*list, samples, !list->automatic_split || !dataset.automatic_split);
            if (unseen.same_names)
                console.warn(
                    "Most of these images have the names of those that the model was trained with, but "
                    "other contents: taken for other images.");
            if (unseen.trained_on + unseen.held_out == 0) return samples;
            if (unseen.samples.empty())
                throw Error(ErrorKind::data, "nothing to evaluate on", echoed(data_),
                            "the model was trained on every image of it", "give other images, or use --all");
            if (list->automatic_split || unseen.trained_on > 0) console.say(text_of(unseen));
            samples = unseen.samples;
            split = std::move(unseen);
            return samples;
        }
        if (!dataset.automatic_split || !recorded_split(info) || !trained_on(info, dataset)) return samples;
        console.say(kept_aside(dataset.valid.size()));
        return dataset.valid;
    }

    static std::string kept_aside(std::size_t images) {
        return fmt::format(
            "This model was trained on this folder: using the {} images that were kept aside "
            "(--all: all of them).",
            images);
    }

    static std::string text_of(const UnseenImages& unseen) {
        std::string text = kept_aside(unseen.held_out);
        const auto add = [&](std::size_t images, const char* what) {
            if (images > 0) text += fmt::format("\n{} {} {}", images, images == 1 ? "image" : "images", what);
        };
        add(unseen.added, "new since then: evaluated, too");
        add(unseen.changed, "changed since the training: left out");
        add(unseen.missing, "of the training gone");
        return text;
    }

    std::string report(const Evaluation& evaluation, int columns) const {
        const std::string text = evaluation_text(evaluation, columns);
        return options_.tta ? "Each image together with its mirror image.\n" + text : text;
    }

    std::string data_, valid_, model_, svg_, labels_, label_from_;
    std::vector<std::string> exclude_;
    bool all_ = false, force_ = false;
    BadImages bad_images_ = DatasetOptions{}.bad_images;
    double max_bad_ = DatasetOptions{}.max_bad;
    ModelOptions model_options_;
    EvaluateOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_eval() {
    return std::make_unique<Eval>();
}

}  // namespace onecycle::cli
