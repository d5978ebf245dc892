#include "onecycle/learner.h"

#include <fmt/format.h>

#include <cmath>

#include "onecycle/error.h"
#include "onecycle/tensor_file.h"
#include "train/advice.h"
#include "train/learner_core.h"
#include "train/model_info.h"
#include "train/model_tensors.h"

namespace onecycle {

struct Learner::Impl : LearnerCore {
    using LearnerCore::LearnerCore;

    double momentum() const { return momentum_at_peak(policy_options(options)); }
};

namespace {

Dataset open(const TrainOptions& options, const Observer& observer) {
    return open_dataset(options.data, dataset_options(options, observer.log, observer.stop));
}

}  // namespace

Learner::Learner(const Dataset& dataset, const TrainOptions& options, Observer observer)
    : Learner(dataset, options, std::move(observer), architecture(options.arch)) {}
Learner::Learner(const Dataset& dataset, const TrainOptions& options, Observer observer,
                 const Architecture& architecture)
    : impl_(std::make_unique<Impl>(dataset, options, std::move(observer), architecture)) {}
Learner::Learner(const TrainOptions& options, Observer observer)
    : Learner(open(resolved(options), observer), options, observer) {}
Learner::~Learner() = default;
Learner::Learner(Learner&&) noexcept = default;

const TrainOptions& Learner::options() const {
    return impl_->options;
}
const Dataset& Learner::dataset() const {
    return impl_->dataset;
}
const Network& Learner::network() const {
    return impl_->network;
}
std::int64_t Learner::steps_per_epoch() const {
    return impl_->steps_per_epoch();
}
std::uint64_t Learner::checkpoint_bytes() const {
    std::uint64_t bytes = 0;
    for (const Space space :
         {Space::parameters, Space::statistics, Space::moment1, Space::moment2, Space::ema})
        bytes += impl_->state.bytes(space);
    return bytes;
}
std::uint64_t Learner::run_bytes() const {
    const std::int64_t epochs = all_epochs(impl_->options), every = impl_->options.checkpoint_every;
    std::int64_t saves = epochs;
    if (every > 0) saves += epochs * steps_per_epoch() / every;
    // Without an evaluation the newest counts as the best.
    const std::int64_t most = std::min<std::int64_t>(saves, impl_->evaluates() ? 4 : 3);
    return static_cast<std::uint64_t>(most) * (checkpoint_bytes() + impl_->packed_images.size());
}
std::vector<std::string> Learner::describe() const {
    return onecycle::describe(*impl_);
}
std::string Learner::state_digest() const {
    return impl_->state.digest();
}

RangeTestResult Learner::find(const FindOptions& options) {
    return run_range_test(*impl_, impl_->step, impl_->train_loader(), options, impl_->momentum());
}

namespace {

void check_sweep_value(SweepParameter parameter, double value) {
    const bool ok = parameter == SweepParameter::weight_decay ? value >= 0 && std::isfinite(value)
                    : parameter == SweepParameter::momentum
                        ? value >= 0 && value < 1
                        : value >= 2 && value <= 65536 && value == std::floor(value);
    if (!ok)
        throw Error(ErrorKind::usage, "option not usable",
                    fmt::format("--sweep {}={}", to_string(parameter), value), "the value is out of range",
                    "give values that the option itself takes");
}

}  // namespace

std::vector<SweepResult> Learner::sweep(SweepParameter parameter, const std::vector<double>& values,
                                        const FindOptions& options) {
    LearnerCore& core = *impl_;
    for (double value : values) check_sweep_value(parameter, value);
    std::vector<SweepResult> results;
    for (double value : values) {
        core.log(LogLevel::info, fmt::format("range test with {} {}", to_string(parameter), value));
        SweepResult& result = results.emplace_back(SweepResult{.value = value});
        if (parameter == SweepParameter::momentum) {
            result.test = run_range_test(core, core.step, core.train_loader(), options, value);
        } else {
            // Another program on the same state: the range test puts that back.
            TrainOptions changed = core.options;
            int batch = core.step.batch();
            if (parameter == SweepParameter::weight_decay) changed.weight_decay = value;
            if (parameter == SweepParameter::batch_size)
                batch = static_cast<int>(std::min(value, static_cast<double>(core.largest_batch())));
            TrainStep step(core.network, core.state.layout(), *core.engine.backend,
                           core.with_input(program_key(changed, core.network, batch)));
            step.bind(core.state, core.arena_for(step.arena_bytes()), core.class_weights,
                      core.resident_memory());
            const auto loader = batch == core.step.batch() ? nullptr : core.make_train_loader(batch);
            result.test = run_range_test(core, step, loader ? *loader : core.train_loader(), options,
                                         impl_->momentum());
        }
        if (result.test.stopped == RangeTestStop::signal) break;
    }
    return results;
}

std::vector<RateTrial> Learner::try_rates(const std::vector<double>& rates, const TrialOptions& options) {
    return run_trials(*impl_, rates, options);
}

FitResult Learner::fit(const FitOptions& options) {
    return run_fit(*impl_, options);
}

Evaluation Learner::evaluate(const std::vector<Sample>& samples) {
    const auto loader = impl_->make_evaluation_loader(
        samples, std::make_shared<ImageFaults>(ImageFaults::Rules{.bad_images = impl_->options.bad_images,
                                                                  .max_bad = impl_->options.max_bad,
                                                                  .images = samples.size(),
                                                                  .log = impl_->observer.log}));
    return impl_->bound_evaluator().evaluate(*loader, impl_->class_names, impl_->observer.stop,
                                             impl_->ranks());
}

Evaluation Learner::evaluate() {
    return impl_->bound_evaluator().evaluate(impl_->valid_loader(), impl_->class_names, impl_->observer.stop,
                                             impl_->ranks());
}

std::vector<Prediction> Learner::predict(const std::vector<std::string>& files, int top) {
    check_top(top);  // before anything is compiled
    return impl_->bound_predictor().predict(
        files, impl_->class_names, top,
        {impl_->size(), impl_->options.crop_pct, worker_threads(impl_->options.threads), impl_->observer.stop,
         impl_->options.max_pixels, impl_->dataset.decode_budget});
}

void Learner::save(const std::string& path) const {
    StateCopy copy(impl_->state);
    copy.begin();
    copy.wait();
    ModelTensors tensors(impl_->state, copy, false);
    TrainOptions options = impl_->options;
    options.size = impl_->size();
    write_safetensors(path, tensors.sources(copy.control().update * batches_per_update(options)),
                      model_metadata(options, impl_->class_names));
}

}  // namespace onecycle
