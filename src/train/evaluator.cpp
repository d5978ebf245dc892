#include "train/evaluator.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "core/threads.h"
#include "onecycle/error.h"
#include "onecycle/image.h"

namespace onecycle {

namespace {

void ask(const std::function<int()>& stop) {
    if (!stop) return;
    if (const int signal = stop()) throw Interrupted(signal);
}

}  // namespace

ProgramKey without_learning(ProgramKey key, Mode mode) {
    key.mode = mode;
    key.label_smoothing = 0;
    key.mixup = key.cutmix = 0;
    key.class_weights = false;
    key.optimizer = {};
    key.frozen = {};
    key.group_rates.clear();
    key.seed = 0;
    return key;
}

void check_any(std::int64_t images) {
    if (images == 0)
        throw Error(ErrorKind::data, "cannot evaluate", "its images", "none of them can be read any more",
                    "put them back as they were");
}

void check_top(int top) {
    if (top < 1)
        throw Error(ErrorKind::usage, "option not usable", "--top " + std::to_string(top),
                    "it must be 1 or more", "5 is the default");
}

Evaluator::Evaluator(const Network& network, const StateLayout& layout, const Backend& backend,
                     ProgramKey key)
    : program_(compile(network, layout, backend, without_learning(key, Mode::evaluate))) {}

void Evaluator::bind(State& state, DeviceMemory& arena, bool ema) {
    state_ = &state;
    runnable_.emplace(program_, state, arena, ema);
    sums_ = state.device().make_side_copy({{state.base(Space::control), state.bytes(Space::control)},
                                           {runnable_->counts().data(), runnable_->counts().size()}});
}

// The sums of the control block, and nothing else in it.
void Evaluator::clear_sums() {
    constexpr ResultSums zeros{};
    state_->device().copy_in(state_->base(Space::control) + offsetof(StepControl, sums), &zeros,
                             sizeof zeros);
}

Evaluator::Totals Evaluator::totals(Loader& loader, const std::function<int()>& stop,
                                    const std::function<int()>& stop_at_once) {
    clear_sums();
    runnable_->clear_counts();
    loader.start(0, loader.batches_per_epoch());
    const auto asked = [&] {
        ask(stop_at_once);
        return 0;
    };
    while (const Loader::BatchPtr batch = loader.next(asked)) {
        ask(stop);
        runnable_->set_batch(batch->pixels.data(), batch->labels.data(), batch->count);
        runnable_->launch_unless(asked);
    }
    sums_->begin();
    clear_sums();
    sums_->wait();
    const ResultSums& sums = reinterpret_cast<const StepControl*>(sums_->piece(0))->sums;
    check_any(sums.count);
    return {sums.loss_sum / sums.weight, sums.count, sums.correct, sums.correct5};
}

Evaluation Evaluator::evaluate(Loader& loader, const std::vector<std::string>& classes,
                               const std::function<int()>& stop) {
    const std::size_t k = classes.size();
    const Totals totals = this->totals(loader, stop);
    const auto* counts = reinterpret_cast<const std::int32_t*>(sums_->piece(1));
    Evaluation result;
    for (std::size_t c = 0; c < k; ++c) result.confusion.emplace_back(counts + c * k, counts + (c + 1) * k);
    result.n = totals.n;
    result.loss = totals.loss;
    result.accuracy = totals.accuracy();
    result.interval = wilson_interval(totals.correct, totals.n);
    result.top5 = ratio(totals.correct5, totals.n);
    count_classes(result, classes);
    return result;
}

Predictor::Predictor(const Network& network, const StateLayout& layout, const Backend& backend,
                     ProgramKey key)
    : program_(compile(network, layout, backend, without_learning(key, Mode::predict))) {}

void Predictor::bind(State& state, DeviceMemory& arena, bool ema) {
    state_ = &state;
    runnable_.emplace(program_, state, arena, ema);
}

std::vector<Prediction> Predictor::predict(const std::vector<std::string>& files,
                                           const std::vector<std::string>& classes, int top,
                                           const Views& views) {
    check_top(top);
    const std::size_t k = classes.size(), kept = std::min(k, static_cast<std::size_t>(top));
    std::vector<Prediction> answers(files.size());
    std::vector<std::uint8_t> pixels;
    std::vector<Prediction*> rows;  // whose pixels these are

    const auto answer_rows = [&] {
        if (rows.empty()) return;
        const int n = static_cast<int>(rows.size());
        runnable_->set_batch(pixels.data(), nullptr, n);
        runnable_->launch();
        const std::vector<float> probabilities = runnable_->read_probabilities(n);
        std::vector<int> order(k);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const float* p = probabilities.data() + i * k;
            std::iota(order.begin(), order.end(), 0);
            std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                              [&](int a, int b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
            for (std::size_t j = 0; j < kept; ++j)
                rows[i]->top.push_back({order[j], classes[static_cast<std::size_t>(order[j])], p[order[j]]});
        }
        rows.clear();
        pixels.clear();
    };

    const auto batch = static_cast<std::size_t>(program_.key.batch);
    for (std::size_t begin = 0; begin < files.size(); begin += batch) {
        ask(views.stop);
        std::vector<Image> images(std::min(batch, files.size() - begin));
        for_each_index(images.size(), views.threads, [&](std::size_t i) {
            Prediction& answer = answers[begin + i];
            answer.file = files[begin + i];
            try {
                DecodeOptions decode;
                decode.limits = limits_with(views.max_pixels);
                decode.limits.memory = views.decode_budget;
                const Image image = read_image(answer.file, decode);
                answer.damaged = image.damaged;
                images[i] = evaluation_view(image, views.size, views.crop_pct);
            } catch (const ImageError& error) {
                answer.error = error.reason();
            }
        });
        for (std::size_t i = 0; i < images.size(); ++i) {
            if (!answers[begin + i].error.empty()) continue;
            pixels.insert(pixels.end(), images[i].rgb.begin(), images[i].rgb.end());
            rows.push_back(&answers[begin + i]);
        }
        answer_rows();
    }
    return answers;
}

}  // namespace onecycle
