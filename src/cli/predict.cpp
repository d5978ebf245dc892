// onecycle predict: what a model sees in images.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "cli/image_progress.h"
#include "cli/json.h"
#include "cli/model_options.h"
#include "cli/training_options.h"
#include "cli/verb.h"
#include "core/signals.h"
#include "data/folder.h"
#include "data/shard_index.h"
#include "onecycle/error.h"
#include "onecycle/model.h"

namespace onecycle::cli {

namespace {

// An image to look at, or why there is none.
struct Item {
    std::string file, error{};
};

// Folders are searched.
void add_images(std::vector<Item>& items, std::string path) {
    const bool shard = has_shard_ending(path) && std::filesystem::is_regular_file(path);
    if (!shard && !is_folder(path)) {
        items.push_back({path});
        return;
    }
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    try {
        const std::vector<std::string> images = images_below(path);
        if (images.empty())
            items.push_back({path, shard ? "no image in this shard" : "no image in this folder"});
        for (const std::string& image : images) items.push_back({image});
    } catch (const Error& error) {
        items.push_back({path, error.what()});
    }
}

std::vector<Item> items_of(const std::vector<std::string>& paths) {
    std::vector<Item> items;
    for (const std::string& path : paths) {
        if (path != "-") {
            add_images(items, path);
            continue;
        }
        for (std::string line; std::getline(std::cin, line);) {
            if (line.ends_with('\r')) line.pop_back();
            if (!line.empty()) add_images(items, line);
        }
    }
    if (items.empty())
        throw Error(ErrorKind::data, "nothing to predict", "-", "stdin names no image",
                    "write one path on each line");
    return items;
}

void say_answer(Console& console, const Prediction& p) {
    if (!p.error.empty()) {
        console.warn("warning: " + printable(p.file) + ": " + printable(p.error));
        return;
    }
    if (p.damaged)
        console.warn("warning: " + printable(p.file) + ": damaged; it is used as far as it can be decoded");
    std::string line = printable(p.file) + ":";
    for (const auto& entry : p.top)
        line += fmt::format("  {} {:.1f} %", printable(entry.label), 100 * entry.probability);
    console.answer(line + "\n", 2);
}

class Predict : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("PATH", paths_, "images, folders of images, or - for a list on stdin, a path a line");
        declare_image_limits(a, options_.max_pixels);
        a.group("Answers");
        a.whole("--top", top_, "so many classes for each image");
        declare_model_options(a, model_, options_);
        declare_console_options(a, console_options_, true);
    }

    int run(const Arguments&, Console& console) override {
        if (paths_.empty())
            throw Error(ErrorKind::usage, "missing argument", "PATH", "predict needs images",
                        "onecycle predict cat.jpg --model runs/photos");
        if (top_ < 1)
            throw Error(ErrorKind::usage, "bad option", fmt::format("--top {}", top_), "it must be 1 or more",
                        "5 is the default");
        if (options_.max_pixels < 1)
            throw Error(ErrorKind::usage, "bad option", fmt::format("--max-pixels {}", options_.max_pixels),
                        "it must be 1 or more", "178956970 is the default");
        require_model(model_);
        model_ = newest_run(model_, console);
        SignalGuard guard;
        guard.answer(console.stop_answer(after_this_batch));
        options_.log = console.log();
        options_.stop = stop_signal;
        Model model(model_, options_);
        const std::vector<Prediction> predictions = answer(model, items_of(paths_), console);
        const auto failed = std::count_if(predictions.begin(), predictions.end(),
                                          [](const Prediction& p) { return !p.error.empty(); });
        if (failed == std::ssize(predictions))
            throw Error(ErrorKind::data, "cannot predict", predictions.front().file,
                        predictions.front().error,
                        failed == 1 ? "give another image"
                                    : fmt::format("give readable images: none of these {} is", failed));
        if (console.json()) console.result(to_json(predictions));
        return 0;
    }

  private:
    // Batch by batch. Without --json each answer is said as soon as it is known and one is good:
    // where none is, the error says it all.
    std::vector<Prediction> answer(Model& model, const std::vector<Item>& items, Console& console) const {
        ImageProgress progress(console, "predict", std::ssize(items));
        std::vector<Prediction> predictions;
        std::size_t said = 0;
        bool good = false;
        const std::size_t batch = static_cast<std::size_t>(options_.batch_size);
        for (std::size_t begin = 0; begin < items.size(); begin += batch) {
            progress.done(static_cast<std::int64_t>(begin));
            const std::size_t end = std::min(begin + batch, items.size());
            std::vector<std::string> files;
            for (std::size_t i = begin; i < end; ++i)
                if (items[i].error.empty()) files.push_back(items[i].file);
            std::vector<Prediction> answers = model.predict(files, top_);
            auto next = answers.begin();
            for (std::size_t i = begin; i < end; ++i)
                predictions.push_back(items[i].error.empty()
                                          ? std::move(*next++)
                                          : Prediction{.file = items[i].file, .error = items[i].error});
            for (std::size_t i = begin; i < end; ++i) good = good || predictions[i].error.empty();
            if (!console.json() && good)
                for (; said < end; ++said) say_answer(console, predictions[said]);
        }
        return predictions;
    }

    std::vector<std::string> paths_;
    std::string model_;
    int top_ = 5;
    ModelOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_predict() {
    return std::make_unique<Predict>();
}

}  // namespace onecycle::cli
