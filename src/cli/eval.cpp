// onecycle eval: loss, accuracy and confusion of a model on a folder of images.
#include <fmt/format.h>

#include <optional>

#include "cli/image_progress.h"
#include "cli/json.h"
#include "cli/model_options.h"
#include "cli/training_options.h"
#include "cli/verb.h"
#include "core/file.h"
#include "core/signals.h"
#include "onecycle/dataset.h"
#include "onecycle/error.h"
#include "onecycle/evaluation_report.h"
#include "onecycle/model.h"
#include "train/engine.h"

namespace onecycle::cli {

namespace {

class Eval : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("DATA", data_, "the folder of images");
        declare_model_options(a, model_, model_options_);
        a.group("Images");
        a.text("--valid", "DIR", valid_, "the evaluation images, when they are elsewhere");
        a.flag("--all", all_, "every image in DATA, also those that the model was trained on");
        a.group("Report");
        a.whole("--top-losses", options_.top_losses, "name so many images with the highest losses");
        a.flag("--tta", options_.tta,
               "test-time augmentation: the mean over each image and its mirror image");
        a.text("--svg", "FILE", svg_, "the confusion matrix as a picture");
        a.group("Images");
        declare_bad_images(a, bad_images_, max_bad_);
        declare_console_options(a, console_options_, true);
    }

    int run(const Arguments&, Console& console) override {
        require_data(data_, "eval");
        require_model(model_);
        const SignalGuard guard;
        model_options_.log = console.log();
        std::int64_t images = 0;
        std::optional<ImageProgress> progress;
        model_options_.stop = [&] {  // asked before each batch
            if (progress) progress->done(images);
            images += model_options_.batch_size;
            return stop_signal();
        };
        if (!svg_.empty()) check_writable(svg_);
        Model model(model_, model_options_);
        const Dataset dataset = open(model.info(), console);
        const std::vector<Sample> samples = choose(model.info(), dataset, console);
        progress.emplace(console, "eval", std::ssize(samples));
        const Evaluation evaluation = model.evaluate(samples, dataset.classes, options_);
        if (console.json())
            console.result(to_json(evaluation));
        else
            console.say(report(evaluation));
        if (!svg_.empty()) write_file_atomically(posix_file_system(), svg_, confusion_svg(evaluation));
        return 0;
    }

  private:
    Dataset open(const ModelInfo& info, Console& console) const {
        DatasetOptions options;
        options.valid_dir = valid_;
        options.threads = worker_threads(model_options_.threads);
        options.use = all_ ? DatasetUse::everything : DatasetUse::evaluation;
        options.bad_images = bad_images_;
        options.max_bad = max_bad_;
        options.log = console.log();
        if (const auto split = recorded_split(info)) {
            options.seed = split->seed;
            options.valid_fraction = split->valid_fraction;
        }
        return open_dataset(data_, options);
    }

    std::vector<Sample> choose(const ModelInfo& info, const Dataset& dataset, Console& console) const {
        if (all_) return all_samples(dataset);
        if (!dataset.automatic_split) return dataset.valid;
        if (!recorded_split(info) || !trained_on(info, dataset)) return all_samples(dataset);
        console.say(
            fmt::format("This model was trained on this folder: using the {} images that were kept aside "
                        "(--all: all of them).",
                        dataset.valid.size()));
        return dataset.valid;
    }

    std::string report(const Evaluation& evaluation) const {
        std::string text = evaluation_text(evaluation);
        text.pop_back();  // say() ends the line
        return options_.tta ? "Each image together with its mirror image.\n" + text : text;
    }

    // A place that cannot be written to is better known before the work than after it.
    static void check_writable(const std::string& file) {
        const std::string folder = parent_directory(file);
        if (const int failed = posix_file_system().writable(folder))
            throw file_error("cannot write", folder, -failed);
    }

    std::string data_, valid_, model_, svg_;
    bool all_ = false;
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
