#include <fmt/format.h>

#include <algorithm>

#include "onecycle/error.h"
#include "onecycle/evaluation.h"
#include "report/text.h"

namespace onecycle {

namespace {

constexpr std::size_t most_columns = 20;  // of a matrix that can be read
constexpr int longest_name = 24;
constexpr int class_figures = 37;  // columns behind a class's name

std::string percent(double share) {
    return fmt::format("{:.1f} %", 100 * share);
}

class Report {
  public:
    Report(const Evaluation& evaluation, int room) : e_(evaluation), room_(room) {
        const int longest = room ? std::clamp(room - class_figures, 8, longest_name) : longest_name;
        for (const ClassResult& c : e_.per_class) {
            names_.push_back(shortened(printable(c.name), longest));
            width_ = std::max(width_, columns(names_.back()));
        }
    }

    std::string text() {
        figures();
        classes();
        if (e_.confusion.size() <= most_columns) matrix();
        pairs();
        losses();
        return std::move(text_);
    }

  private:
    void figures() {
        // Of five classes or fewer, the right one is always among five answers.
        const std::string top5 = names_.size() > 5 ? ", top-5 " + percent(e_.top5) : "";
        text_ +=
            fmt::format("{} images: loss {:.4f}, accuracy {} (95 %: {:.1f} to {:.1f} %){}, balanced {}\n",
                        e_.n, e_.loss, percent(e_.accuracy), 100 * e_.interval.low, 100 * e_.interval.high,
                        top5, percent(e_.balanced_accuracy));
    }

    void classes() {
        text_ += "\n" + pad_right("class", width_) + "  images  precision   recall       F1\n";
        for (std::size_t i = 0; i < names_.size(); ++i) {
            const ClassResult& c = e_.per_class[i];
            if (c.count == 0) {  // neither good nor bad
                text_ += pad_right(names_[i], width_) + "  " + pad_left("0", 6) + "  " + pad_left("–", 9) +
                         "  " + pad_left("–", 7) + "  " + pad_left("–", 7) + "\n";
                continue;
            }
            text_ += fmt::format("{}  {:>6}  {:>9}  {:>7}  {:>7}\n", pad_right(names_[i], width_), c.count,
                                 percent(c.precision), percent(c.recall), percent(c.f1));
        }
    }

    // Columns are named by letters: names would not fit.
    void matrix() {
        std::int64_t highest = 0;
        for (const auto& row : e_.confusion)
            highest = std::max(highest, *std::max_element(row.begin(), row.end()));
        const int cell = static_cast<int>(fmt::to_string(highest).size()) + 1;
        if (const int needed = width_ + 3 + static_cast<int>(names_.size()) * cell; room_ && needed > room_) {
            text_ += fmt::format("\nThe confusion matrix needs {} columns; --svg FILE draws it.\n", needed);
            return;
        }
        const auto letter = [](std::size_t i) { return std::string(1, static_cast<char>('a' + i)); };
        text_ += "\nTrue class by row, the model's answer by column:\n" +
                 std::string(static_cast<std::size_t>(width_ + 3), ' ');
        for (std::size_t i = 0; i < names_.size(); ++i) text_ += pad_left(letter(i), cell);
        text_ += "\n";
        for (std::size_t i = 0; i < names_.size(); ++i) {
            text_ += pad_right(names_[i], width_) + "  " + letter(i);
            for (const std::int64_t count : e_.confusion[i])
                text_ += pad_left(count ? fmt::to_string(count) : "·", cell);
            text_ += "\n";
        }
    }

    void pairs() {
        const auto confused = most_confused(e_, names_.size() <= most_columns ? 10 : 20);
        if (confused.empty()) return;
        text_ += "\nMost confused:\n";
        for (const ConfusedPair& pair : confused)
            text_ += fmt::format("{:>6} of {} {}, taken for {}\n", pair.count,
                                 e_.per_class[static_cast<std::size_t>(pair.label)].count, name(pair.label),
                                 name(pair.predicted));
    }

    void losses() {
        if (e_.top_losses.empty()) return;
        text_ += "\nHighest losses:\n";
        for (const ImageLoss& image : e_.top_losses)
            text_ += fmt::format("{:>7.3f}  {}: {} ({}), taken for {}\n", image.loss, printable(image.file),
                                 name(image.label), percent(image.probability), name(image.predicted));
    }

    const std::string& name(int c) const { return names_[static_cast<std::size_t>(c)]; }

    const Evaluation& e_;
    int room_;  // columns; 0: no limit
    std::vector<std::string> names_;
    int width_ = 5;
    std::string text_;
};

}  // namespace

std::string evaluation_text(const Evaluation& evaluation, int width) {
    return Report(evaluation, width).text();
}

}  // namespace onecycle
