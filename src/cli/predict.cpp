// onecycle predict: what a model sees in images.
#include <fmt/format.h>

#include <algorithm>

#include "cli/json.h"
#include "cli/model_options.h"
#include "cli/verb.h"
#include "core/signals.h"
#include "data/folder_scan.h"
#include "onecycle/error.h"
#include "onecycle/model.h"

namespace onecycle::cli {

namespace {

std::vector<std::string> files_of(const std::vector<std::string>& paths) {
    std::vector<std::string> files;
    for (std::string path : paths) {
        if (!is_folder(path)) {
            files.push_back(path);
            continue;
        }
        while (path.size() > 1 && path.back() == '/') path.pop_back();
        const std::vector<std::string> images = images_below(path);
        if (images.empty())
            throw Error(ErrorKind::data, "nothing to predict", path, "no image in this folder",
                        "give images, or a folder that has some");
        files.insert(files.end(), images.begin(), images.end());
    }
    return files;
}

void say_answer(Console& console, const Prediction& p) {
    if (!p.error.empty()) {
        console.warn("warning: " + printable(p.file) + ": " + printable(p.error));
        return;
    }
    std::string line = printable(p.file) + ":";
    for (const auto& entry : p.top)
        line += fmt::format("  {} {:.1f} %", printable(entry.label), 100 * entry.probability);
    console.result(line + "\n");
}

class Predict : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("PATH", paths_, "images, or folders of images");
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
        require_model(model_);
        const SignalGuard guard;
        options_.log = console.log();
        options_.stop = stop_signal;
        Model model(model_, options_);
        const auto predictions = model.predict(files_of(paths_), top_);
        const auto failed = std::count_if(predictions.begin(), predictions.end(),
                                          [](const Prediction& p) { return !p.error.empty(); });
        if (failed == std::ssize(predictions))
            throw Error(ErrorKind::data, "cannot predict", predictions.front().file,
                        predictions.front().error,
                        failed == 1 ? "give a JPEG, PNG or BMP image"
                                    : fmt::format("give readable images: none of these {} is", failed));
        if (console.json())
            console.result(to_json(predictions));
        else
            for (const Prediction& prediction : predictions) say_answer(console, prediction);
        return 0;
    }

  private:
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
