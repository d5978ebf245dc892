// onecycle eval: loss, accuracy and confusion of a model on a folder of images.
#include <fmt/format.h>

#include "cli/json.h"
#include "cli/model_options.h"
#include "cli/training_options.h"
#include "cli/verb.h"
#include "core/signals.h"
#include "onecycle/dataset.h"
#include "onecycle/error.h"
#include "onecycle/model.h"
#include "train/engine.h"

namespace onecycle::cli {

namespace {

std::string percent(double share) {
    return fmt::format("{:.1f} %", 100 * share);
}

// The table of the classes and, while it fits on a screen, the confusion matrix.
void say_report(Console& console, const Evaluation& e) {
    console.say(
        fmt::format("{} images: loss {:.4f}, accuracy {} (95 %: {:.1f} to {:.1f} %), top-5 {}, balanced {}",
                    e.n, e.loss, percent(e.accuracy), 100 * e.interval.low, 100 * e.interval.high,
                    percent(e.top5), percent(e.balanced_accuracy)));
    std::size_t width = 5;
    for (const ClassResult& c : e.per_class) width = std::max(width, printable(c.name).size());
    console.say(fmt::format("\n{:<{}}  images  recall  precision", "class", width));
    for (const ClassResult& c : e.per_class)
        console.say(fmt::format("{:<{}}  {:>6}  {:>6}  {:>9}", printable(c.name), width, c.count,
                                percent(c.recall), percent(c.precision)));
    constexpr std::size_t most_columns = 12;
    if (e.confusion.size() > most_columns) return;
    console.say("\nTrue class by row, the model's answer by column:");
    for (std::size_t i = 0; i < e.confusion.size(); ++i) {
        std::string line = fmt::format("{:<{}}", printable(e.per_class[i].name), width);
        for (const std::int64_t count : e.confusion[i]) line += fmt::format(" {:>5}", count);
        console.say(line);
    }
}

class Eval : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("DATA", data_, "the folder of images");
        declare_model_options(a, model_, options_);
        a.group("Images");
        a.text("--valid", "DIR", valid_, "the evaluation images, when they are elsewhere");
        a.flag("--all", all_, "every image in DATA, also those that the model was trained on");
        declare_bad_images(a, bad_images_, max_bad_);
        declare_console_options(a, console_options_, true);
    }

    int run(const Arguments&, Console& console) override {
        require_data(data_, "eval");
        require_model(model_);
        const SignalGuard guard;
        options_.log = console.log();
        options_.stop = stop_signal;
        Model model(model_, options_);
        const Dataset dataset = open(model.info(), console);
        const Evaluation evaluation = model.evaluate(choose(model.info(), dataset, console), dataset.classes);
        if (console.json())
            console.result(to_json(evaluation));
        else
            say_report(console, evaluation);
        return 0;
    }

  private:
    Dataset open(const ModelInfo& info, Console& console) const {
        DatasetOptions options;
        options.valid_dir = valid_;
        options.threads = worker_threads(options_.threads);
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

    std::string data_, valid_, model_;
    bool all_ = false;
    BadImages bad_images_ = DatasetOptions{}.bad_images;
    double max_bad_ = DatasetOptions{}.max_bad;
    ModelOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_eval() {
    return std::make_unique<Eval>();
}

}  // namespace onecycle::cli
