#include "train/image_evaluator.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "device/communicator.h"
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

// What is said of one image, as the ranks send it.
struct ImageEvaluator::Answer {
    std::int64_t sample;
    double log_probability;  // of its class
    std::int32_t label, taken_for, in_five;
    std::int32_t unused = 0;
};

std::vector<ImageEvaluator::Answer> ImageEvaluator::answers(Loader& loader, std::size_t classes, bool tta,
                                                            const std::function<int()>& stop,
                                                            Communicator* ranks) {
    std::vector<Answer> own;
    for_each_batch(loader, stop, ranks, [&](const Batch& batch, std::int64_t) {
        std::vector<double> scores = log_probabilities(batch.pixels.data(), batch);
        if (tta) {
            const std::vector<double> other = log_probabilities(mirrored(batch).data(), batch);
            std::transform(scores.begin(), scores.end(), other.begin(), scores.begin(), log_mean);
        }
        for (std::size_t i = 0; i < static_cast<std::size_t>(batch.count); ++i) {
            const double *const row = &scores[i * classes], *const end = row + classes;
            const double right = row[batch.labels[i]];
            own.push_back({.sample = batch.sample_ids[i],
                           .log_probability = right,
                           .label = batch.labels[i],
                           .taken_for = static_cast<std::int32_t>(std::max_element(row, end) - row),
                           .in_five = std::count_if(row, end, [&](double s) { return s > right; }) < 5});
        }
    });
    if (!ranks) return own;
    const std::string bytes(reinterpret_cast<const char*>(own.data()), own.size() * sizeof(Answer));
    own.clear();
    for (const std::string& part : all_gather(*ranks, bytes)) {
        const std::size_t before = own.size();
        own.resize(before + part.size() / sizeof(Answer));
        std::memcpy(own.data() + before, part.data(), part.size());
    }
    std::sort(own.begin(), own.end(), [](const Answer& a, const Answer& b) { return a.sample < b.sample; });
    return own;
}

Evaluation ImageEvaluator::evaluate(Loader& loader, const std::vector<Sample>& samples,
                                    const std::vector<std::string>& classes, const EvaluateOptions& options,
                                    const std::function<int()>& stop, Communicator* ranks) {
    Evaluation result;
    result.confusion.assign(classes.size(), std::vector<std::int64_t>(classes.size(), 0));
    std::int64_t correct = 0, correct5 = 0;
    std::vector<std::pair<std::size_t, ImageLoss>> losses;  // by sample, not yet named
    for (const Answer& answer : answers(loader, classes.size(), options.tta, stop, ranks)) {
        correct += answer.taken_for == answer.label;
        correct5 += answer.in_five;
        ++result
              .confusion[static_cast<std::size_t>(answer.label)][static_cast<std::size_t>(answer.taken_for)];
        result.loss -= answer.log_probability;
        losses.push_back({static_cast<std::size_t>(answer.sample),
                          {.loss = -answer.log_probability,
                           .label = answer.label,
                           .predicted = answer.taken_for,
                           .probability = std::exp(answer.log_probability)}});
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
