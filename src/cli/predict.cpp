// onecycle predict: what a model sees in images.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <sstream>

#include "cli/image_progress.h"
#include "cli/json.h"
#include "cli/model_options.h"
#include "cli/training_options.h"
#include "cli/verb.h"
#include "core/echoed.h"
#include "core/file.h"
#include "core/signals.h"
#include "data/folder.h"
#include "data/shard_index.h"
#include "device/communicator.h"
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
    if (const int signal = stop_signal()) throw Interrupted(signal);
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

// All of stdin. Whoever writes it may take hours: a stop is heeded meanwhile, and Interrupted thrown.
std::string text_of_stdin() {
    std::string text;
    char bytes[4096];
    for (;;) {
        if (const int signal = stop_signal()) throw Interrupted(signal);
        // Bounded, since a signal may come just before, or to another thread.
        constexpr int milliseconds = 100;
        pollfd ready{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
        if (::poll(&ready, 1, milliseconds) <= 0) continue;
        const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
        if (got == 0) return text;
        if (got > 0)
            text.append(bytes, static_cast<std::size_t>(got));
        else if (errno != EINTR && errno != EAGAIN)
            throw file_error("cannot read", "stdin", errno);
    }
}

std::vector<Item> items_of(const std::vector<std::string>& paths) {
    std::vector<Item> items;
    for (const std::string& path : paths) {
        if (path != "-") {
            add_images(items, path);
            continue;
        }
        std::istringstream lines(text_of_stdin());
        for (std::string line; std::getline(lines, line);) {
            if (line.ends_with('\r')) line.pop_back();
            if (!line.empty()) add_images(items, line);
        }
    }
    if (items.empty())
        throw Error(ErrorKind::data, "nothing to predict", "-", "stdin names no image",
                    "write one path on each line");
    return items;
}

// Rank 0's list, for all: it alone has stdin.
std::vector<Item> items_for(const std::vector<std::string>& paths, Communicator* ranks) {
    if (!ranks) return items_of(paths);
    std::vector<std::string> texts;
    if (ranks->place().rank == 0)
        for (const Item& item : items_of(paths)) texts.insert(texts.end(), {item.file, item.error});
    std::string text = packed(texts);
    broadcast(*ranks, text);
    texts = unpacked(text);
    std::vector<Item> items;
    for (std::size_t i = 0; i + 1 < texts.size(); i += 2) items.push_back({texts[i], texts[i + 1]});
    return items;
}

std::vector<std::string> texts_of(const Prediction& p) {
    std::vector<std::string> texts = {p.file, p.error, p.damaged ? "damaged" : ""};
    for (const auto& [index, label, probability] : p.top)
        texts.insert(texts.end(), {std::to_string(index), label, fmt::format("{}", probability)});
    return texts;
}

Prediction prediction_of(const std::vector<std::string>& texts) {
    Prediction p{.file = texts.at(0), .error = texts.at(1), .damaged = !texts.at(2).empty()};
    for (std::size_t i = 3; i + 2 < texts.size(); i += 3)
        p.top.push_back({std::stoi(texts[i]), texts[i + 1], std::stod(texts[i + 2])});
    return p;
}

void say_answer(Console& console, const Prediction& p) {
    if (!p.error.empty()) {
        console.warn("warning: " + echoed(p.file) + ": " + echoed(p.error));
        return;
    }
    if (p.damaged)
        console.warn("warning: " + echoed(p.file) + ": damaged; it is used as far as it can be decoded");
    std::string line = printable(p.file) + ":";
    for (const auto& entry : p.top)
        line += fmt::format("  {} {:.1f} %", echoed(entry.label), 100 * entry.probability);
    console.answer(line + "\n", 2);
}

// Where nothing could be predicted, so many files failed, this one first.
[[noreturn]] void refuse_all(const Prediction& first, std::int64_t failed) {
    constexpr std::string_view mark = "; fix: ";  // what is wrong with a shard says itself what helps
    const std::size_t end = first.error.rfind(mark);
    std::string fix =
        failed == 1 ? "give another image" : fmt::format("give readable images: none of these {} is", failed);
    if (failed == 1 && end != std::string::npos) fix = first.error.substr(end + mark.size());
    // An option may lift the limit that the image exceeds.
    constexpr std::string_view lifted = " allows it";
    const std::size_t option = first.error.rfind("; --");
    if (failed == 1 && option != std::string::npos && first.error.ends_with(lifted))
        fix = "use " + first.error.substr(option + 2, first.error.size() - lifted.size() - option - 2) +
              ", or give another image";
    throw Error(ErrorKind::data, "cannot predict", first.file, first.error.substr(0, end), fix);
}

class Predict : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("PATH", paths_, "images, folders of images, or - for a list on stdin, a path a line");
        declare_image_limits(a, options_.max_pixels, options_.decode_memory);
        a.group("Answers");
        a.whole("--top", top_, "so many classes for each image");
        declare_model_options(a, model_, options_);
        declare_console_options(a, console_options_, true);
    }

    bool runs_on_ranks() const override { return true; }

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
        guard.answer(console.stop_answer(nothing_begun));
        if (console.leads()) options_.log = console.log();
        options_.ranks = console.ranks();
        options_.stop = stop_signal;
        Model model(model_, options_);
        const std::vector<Item> items = items_for(paths_, console.ranks().get());
        guard.answer(console.stop_answer(after_this_batch));
        const std::vector<Prediction> predictions = answer(model, items, console);
        const auto failed = std::count_if(predictions.begin(), predictions.end(),
                                          [](const Prediction& p) { return !p.error.empty(); });
        if (failed == std::ssize(predictions)) refuse_all(predictions.front(), failed);
        if (console.json()) console.result(to_json(predictions));
        return 0;
    }

  private:
    // Batch by batch, ranks taking turns. Without --json each answer is said as soon as it is known
    // and one is good: where none is, the error says it all.
    std::vector<Prediction> answer(Model& model, const std::vector<Item>& items, Console& console) const {
        ImageProgress progress(console, "predict", std::ssize(items));
        const RankPlace place = console.ranks() ? console.ranks()->place() : RankPlace{};
        std::vector<Prediction> predictions;  // with ranks: this one's
        std::size_t said = 0;
        bool good = false;
        const std::size_t batch = static_cast<std::size_t>(options_.batch_size);
        for (std::size_t begin = 0, number = 0; begin < items.size(); begin += batch, ++number) {
            progress.done(static_cast<std::int64_t>(begin));
            if (number % static_cast<std::size_t>(place.ranks) != static_cast<std::size_t>(place.rank))
                continue;
            const std::size_t end = std::min(begin + batch, items.size());
            answer_batch(model, {items.begin() + std::ptrdiff_t(begin), items.begin() + std::ptrdiff_t(end)},
                         predictions);
            if (console.ranks()) continue;
            for (std::size_t i = said; i < predictions.size(); ++i)
                good = good || predictions[i].error.empty();
            if (!console.json() && good)
                for (; said < predictions.size(); ++said) say_answer(console, predictions[said]);
        }
        if (!console.ranks()) return predictions;
        predictions = in_order(*console.ranks(), predictions, items.size(), batch);
        if (!console.json() &&
            std::ranges::any_of(predictions, [](const Prediction& p) { return p.error.empty(); }))
            for (const Prediction& p : predictions) say_answer(console, p);
        return predictions;
    }

    void answer_batch(Model& model, const std::vector<Item>& items,
                      std::vector<Prediction>& predictions) const {
        std::vector<std::string> files;
        for (const Item& item : items)
            if (item.error.empty()) files.push_back(item.file);
        std::vector<Prediction> answers = model.predict(files, top_);
        auto next = answers.begin();
        for (const Item& item : items)
            predictions.push_back(item.error.empty() ? std::move(*next++)
                                                     : Prediction{.file = item.file, .error = item.error});
    }

    // Those of all ranks, of which each had every so-manieth batch.
    static std::vector<Prediction> in_order(Communicator& ranks, const std::vector<Prediction>& own,
                                            std::size_t items, std::size_t batch) {
        std::vector<std::string> texts;
        for (const Prediction& p : own) texts.push_back(packed(texts_of(p)));
        std::vector<std::vector<std::string>> of_rank;
        for (const std::string& text : all_gather(ranks, packed(texts))) of_rank.push_back(unpacked(text));
        std::vector<std::size_t> next(of_rank.size(), 0);
        std::vector<Prediction> all;
        for (std::size_t i = 0; i < items; ++i) {
            const std::size_t rank = i / batch % of_rank.size();
            all.push_back(prediction_of(unpacked(of_rank[rank].at(next[rank]++))));
        }
        return all;
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
