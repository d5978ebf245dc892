#include "train/evaluator.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <numeric>

#include "core/threads.h"
#include "device/communicator.h"
#include "onecycle/error.h"
#include "onecycle/image.h"
#include "rules/step_rules.h"

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

void for_each_batch(Loader& loader, const std::function<int()>& stop, Communicator* ranks,
                    const std::function<void(const Batch& batch, std::int64_t round)>& work) {
    const auto [rank, all] = ranks ? std::pair(ranks->place().rank, ranks->place().ranks) : std::pair(0, 1);
    const std::int64_t batches = loader.batches_per_epoch();
    loader.start(0, batches);
    Loader::BatchPtr batch = loader.next();
    for (std::int64_t round = 0; round * all < batches; ++round) {
        const std::int64_t own = stop ? stop() : 0;
        if (const std::int64_t signal = ranks ? largest(*ranks, own) : own)
            throw Interrupted(static_cast<int>(signal));
        // Batches that lost all their images are passed over.
        if (!batch || batch->step != round * all + rank) continue;
        work(*batch, round);
        batch.reset();
        batch = loader.next();
    }
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
                                    const std::function<int()>& stop_at_once, Communicator* ranks) {
    runnable_->clear_counts();
    if (ranks) return totals_of_ranks(loader, stop, *ranks);
    clear_sums();
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

Evaluator::Totals Evaluator::totals_of_ranks(Loader& loader, const std::function<int()>& stop,
                                             Communicator& ranks) {
    const int all = ranks.place().ranks;
    const std::int64_t batches = loader.batches_per_epoch(), rounds = (batches + all - 1) / all;
    std::vector<BatchResult> own(static_cast<std::size_t>(rounds));  // zeros count for nothing
    const auto results = runnable_->result_copies(2);
    std::int64_t under_way = -1;  // the round whose result is on its way to the host
    const auto take = [&] {
        if (under_way < 0) return;
        SideCopy& copy = *results[static_cast<std::size_t>(under_way % 2)];
        copy.wait();
        std::memcpy(&own[static_cast<std::size_t>(under_way)], copy.piece(0), sizeof(BatchResult));
        under_way = -1;
    };
    try {
        for_each_batch(loader, stop, &ranks, [&](const Batch& batch, std::int64_t round) {
            runnable_->set_batch(batch.pixels.data(), batch.labels.data(), batch.count);
            runnable_->launch();
            results[static_cast<std::size_t>(round % 2)]->begin();
            take();
            under_way = round;
        });
    } catch (const Interrupted&) {
        take();
        throw;
    }
    take();
    std::vector<BatchResult> everyone(own.size() * static_cast<std::size_t>(all));
    ranks.all_gather(std::as_bytes(std::span(own)), reinterpret_cast<std::byte*>(everyone.data()));
    ResultSums sums{};
    for (std::int64_t number = 0; number < batches; ++number)
        add_result(sums, everyone[static_cast<std::size_t>(number % all * rounds + number / all)]);
    check_any(sums.count);
    sums_->begin();  // the counts
    clear_sums();
    sums_->wait();
    return {sums.loss_sum / sums.weight, sums.count, sums.correct, sums.correct5};
}

Evaluation Evaluator::evaluate(Loader& loader, const std::vector<std::string>& classes,
                               const std::function<int()>& stop, Communicator* ranks) {
    const std::size_t k = classes.size();
    const Totals totals = this->totals(loader, stop, {}, ranks);
    const auto* const own = reinterpret_cast<const std::int32_t*>(sums_->piece(1));
    std::vector<std::int32_t> counts(own, own + k * k);
    if (ranks) {
        std::vector<std::int32_t> all(counts.size() * static_cast<std::size_t>(ranks->place().ranks));
        ranks->all_gather(std::as_bytes(std::span(counts)), reinterpret_cast<std::byte*>(all.data()));
        for (std::size_t i = 0; i < counts.size(); ++i) {
            counts[i] = 0;
            for (std::size_t at = i; at < all.size(); at += counts.size()) counts[i] += all[at];
        }
    }
    Evaluation result;
    for (std::size_t c = 0; c < k; ++c)
        result.confusion.emplace_back(counts.data() + c * k, counts.data() + (c + 1) * k);
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
