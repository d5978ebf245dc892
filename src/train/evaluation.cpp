// Figures from counts.
#include "onecycle/evaluation.h"

#include <algorithm>
#include <cmath>

#include "train/evaluator.h"

namespace onecycle {

Interval wilson_interval(std::int64_t correct, std::int64_t n, double z) {
    if (n == 0) return {0, 1};
    const double count = static_cast<double>(n), p = ratio(correct, n), z2 = z * z;
    const double centre = (p + z2 / (2 * count)) / (1 + z2 / count);
    const double half = z / (1 + z2 / count) * std::sqrt(p * (1 - p) / count + z2 / (4 * count * count));
    return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

void count_classes(Evaluation& evaluation, const std::vector<std::string>& classes) {
    const auto& confusion = evaluation.confusion;
    std::int64_t seen_classes = 0;
    evaluation.balanced_accuracy = 0;
    evaluation.per_class.clear();
    for (std::size_t c = 0; c < classes.size(); ++c) {
        ClassResult entry{.name = classes[c], .correct = confusion[c][c]};
        for (std::size_t other = 0; other < classes.size(); ++other) {
            entry.count += confusion[c][other];
            entry.predicted += confusion[other][c];
        }
        entry.recall = ratio(entry.correct, entry.count);
        entry.precision = ratio(entry.correct, entry.predicted);
        entry.f1 = ratio(2 * entry.correct, entry.count + entry.predicted);
        if (entry.count) {
            ++seen_classes;
            evaluation.balanced_accuracy += entry.recall;
        }
        evaluation.per_class.push_back(std::move(entry));
    }
    if (seen_classes) evaluation.balanced_accuracy /= static_cast<double>(seen_classes);
}

std::vector<ConfusedPair> most_confused(const Evaluation& evaluation, std::size_t most) {
    std::vector<ConfusedPair> pairs;
    const int classes = static_cast<int>(evaluation.confusion.size());
    for (int label = 0; label < classes; ++label)
        for (int predicted = 0; predicted < classes; ++predicted) {
            const std::int64_t count =
                evaluation.confusion[static_cast<std::size_t>(label)][static_cast<std::size_t>(predicted)];
            if (label != predicted && count > 0) pairs.push_back({label, predicted, count});
        }
    std::stable_sort(pairs.begin(), pairs.end(),
                     [](const ConfusedPair& a, const ConfusedPair& b) { return a.count > b.count; });
    pairs.resize(std::min(most, pairs.size()));
    return pairs;
}

}  // namespace onecycle
