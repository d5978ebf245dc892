#include "train/image_evaluator.h"

#include <algorithm>
#include <cmath>

#include "onecycle/model.h"
#include "train/evaluator.h"

namespace onecycle {

namespace {

// The batch's images [count, size, size, 3], left and right exchanged.
std::vector<std::uint8_t> mirrored(const Batch& batch) {
    const std::size_t size = static_cast<std::size_t>(batch.size), rows = batch.count * size;
    std::vector<std::uint8_t> pixels(rows * size * 3);
    for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t x = 0; x < size; ++x)
            std::copy_n(&batch.pixels[(row * size + x) * 3], 3, &pixels[(row * size + size - 1 - x) * 3]);
    return pixels;
}

// log((exp(a) + exp(b)) / 2)
double log_mean(double a, double b) {
    return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b))) - std::log(2.0);
}

}  // namespace

ImageEvaluator::ImageEvaluator(const Network& network, const StateLayout& layout, const Backend& backend,
                               ProgramKey key)
    : program_(compile(network, layout, backend, without_learning(key, Mode::predict))) {
    for (const ProgramOp& step : program_.ops)
        if (std::find(step.outputs.begin(), step.outputs.end(), program_.probabilities) != step.outputs.end())
            logits_ = step.inputs.front();
}

void ImageEvaluator::bind(State& state, DeviceMemory& arena, bool ema) {
    runnable_.emplace(program_, state, arena, ema);
}

std::vector<double> ImageEvaluator::log_probabilities(const std::uint8_t* pixels, const Batch& batch) {
    runnable_->set_batch(pixels, nullptr, batch.count);
    runnable_->launch();
    const std::vector<float> logits = runnable_->read(logits_);
    const std::size_t k = logits.size() / static_cast<std::size_t>(program_.key.batch);
    std::vector<double> result(
        logits.begin(),
        logits.begin() + static_cast<std::ptrdiff_t>(k * static_cast<std::size_t>(batch.count)));
    for (auto row = result.begin(); row != result.end(); row += static_cast<std::ptrdiff_t>(k)) {
        const auto end = row + static_cast<std::ptrdiff_t>(k);
        const double highest = *std::max_element(row, end);
        double sum = 0;
        for (auto x = row; x != end; ++x) sum += std::exp(*x - highest);
        const double norm = highest + std::log(sum);
        for (auto x = row; x != end; ++x) *x -= norm;
    }
    return result;
}

Evaluation ImageEvaluator::evaluate(Loader& loader, const std::vector<Sample>& samples,
                                    const std::vector<std::string>& classes, const EvaluateOptions& options,
                                    const std::function<int()>& stop) {
    const std::size_t k = classes.size();
    Evaluation result;
    result.confusion.assign(k, std::vector<std::int64_t>(k, 0));
    std::int64_t correct = 0, correct5 = 0;
    std::vector<std::pair<std::size_t, ImageLoss>> losses;  // by sample, not yet named
    losses.reserve(samples.size());
    loader.start(0, loader.batches_per_epoch());
    while (const Loader::BatchPtr batch = loader.next()) {
        if (const int signal = stop ? stop() : 0) throw Interrupted(signal);
        std::vector<double> scores = log_probabilities(batch->pixels.data(), *batch);
        if (options.tta) {
            const std::vector<double> other = log_probabilities(mirrored(*batch).data(), *batch);
            std::transform(scores.begin(), scores.end(), other.begin(), scores.begin(), log_mean);
        }
        for (std::size_t i = 0; i < static_cast<std::size_t>(batch->count); ++i) {
            const double* row = &scores[i * k];
            const std::size_t label = static_cast<std::size_t>(batch->labels[i]);
            const std::size_t taken_for = static_cast<std::size_t>(std::max_element(row, row + k) - row);
            correct += taken_for == label;
            correct5 += std::count_if(row, row + k, [&](double s) { return s > row[label]; }) < 5;
            ++result.confusion[label][taken_for];
            result.loss -= row[label];
            losses.push_back({static_cast<std::size_t>(batch->sample_ids[i]),
                              {.loss = -row[label],
                               .label = static_cast<int>(label),
                               .predicted = static_cast<int>(taken_for),
                               .probability = std::exp(row[label])}});
        }
    }
    result.n = static_cast<std::int64_t>(losses.size());
    check_any(result.n);
    const double n = static_cast<double>(result.n);
    result.loss /= n;
    result.accuracy = static_cast<double>(correct) / n;
    result.interval = wilson_interval(correct, result.n);
    result.top5 = static_cast<double>(correct5) / n;
    count_classes(result, classes);
    std::stable_sort(losses.begin(), losses.end(),
                     [](const auto& a, const auto& b) { return a.second.loss > b.second.loss; });
    losses.resize(std::min(losses.size(), static_cast<std::size_t>(options.top_losses)));
    for (auto& [sample, loss] : losses) {
        loss.file = samples[sample].path();
        result.top_losses.push_back(std::move(loss));
    }
    return result;
}

}  // namespace onecycle
