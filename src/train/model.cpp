#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/echoed.h"
#include "onecycle/error.h"
#include "onecycle/run_folder.h"
#include "train/class_names.h"
#include "train/engine.h"
#include "train/evaluator.h"
#include "train/image_evaluator.h"
#include "train/model_info.h"
#include "train/model_tensors.h"

namespace onecycle {

namespace {

ProgramKey key_of(const ModelInfo& info, int batch) {
    ProgramKey key;
    key.batch = batch;
    key.confusion = true;
    std::copy(info.mean.begin(), info.mean.end(), key.mean.begin());
    std::copy(info.stddev.begin(), info.stddev.end(), key.stddev.begin());
    return key;
}

// Finite weights can be so large that what they compute is not.
[[noreturn]] void refuse_overflow(const ModelInfo& info) {
    throw Error(ErrorKind::model, "cannot use model", info.path, "what it computes is not finite",
                "give another checkpoint: the training that wrote it diverged");
}

// Which class of the model each class of the folder is. Says what was assumed and what is absent.
std::vector<int> match_classes(const ModelInfo& info, const std::vector<std::string>& classes,
                               const LogSink& log) {
    const auto refuse = [&](const std::string& why, const std::string& fix) {
        throw Error(ErrorKind::model, "the model does not fit the images", info.path, why, fix);
    };
    std::vector<int> matched(classes.size());
    if (!info.named) {
        if (classes.size() != info.classes.size())
            refuse(fmt::format("it has {} classes, the folder has {}", info.classes.size(), classes.size()),
                   "give the model that was trained on these classes, or the names of its classes with "
                   "--classes "
                   "FILE");
        say_assumed_order(info, classes, log);
        std::iota(matched.begin(), matched.end(), 0);
        return matched;
    }
    const ClassDifference difference = compare_classes(info.classes, classes);
    if (!difference.extra.empty())
        refuse(difference.text("the folder"),
               "give the model that was trained on these classes, or a folder with classes of the model's "
               "alone");
    if (!difference.missing.empty() && log)
        log(LogLevel::info,
            fmt::format("{}: what was trained on them is not evaluated", difference.text("the folder")));
    return difference.matched;
}

}  // namespace

struct Model::Impl {
    Impl(const std::string& model, const ModelOptions& options_, const Architecture* own)
        : options(options_),
          file(open_model(model, options.init_ema, own)),
          info(with_options(require_classifier(require_architecture(describe_model(*file, own), own)),
                            options)),
          engine(make_engine(options.device, options.precision, options.threads,
                             {.deterministic = options.deterministic,
                              .graph = !options.no_graph,
                              .place = options.ranks ? place_in(*options.ranks) : RankPlace{}})),
          network(network_of(info, info.size)),
          state(*engine.device, network, StateLayout(network, *engine.backend, false, engine.compute)) {
        if (const auto plans = info.metadata.find("convolution_plans"); plans != info.metadata.end())
            engine.plans->prefer(plans->second);
        load_weights(state, *file);
        if (!info.weights.others.empty() && options.log)
            options.log(LogLevel::warning,
                        echoed(info.path) + " holds several sets of weights: " + taken_text(info));
    }

    // A pass over images, compiled for a batch size, in an arena of its own.
    template <class Pass>
    struct Bound {
        int batch = 0;
        std::unique_ptr<Pass> pass;
        DeviceMemory arena;
    };

    // For as many images; compiled anew only when that needs a larger batch.
    template <class Pass>
    Bound<Pass>& prepare(Bound<Pass>& bound, std::size_t images) {
        const int batch = static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(options.batch_size),
                                                                 std::max<std::size_t>(images, 1)));
        if (batch <= bound.batch) return bound;
        bound.batch = batch;
        bound.pass = std::make_unique<Pass>(network, state.layout(), *engine.backend, key_of(info, batch));
        bound.arena = DeviceMemory(*engine.device, bound.pass->arena_bytes());
        bound.pass->bind(state, bound.arena, false);
        if (const std::string line = engine.plans->complaint(); !line.empty() && options.log)
            options.log(LogLevel::warning, line);
        return bound;
    }

    ModelOptions options;
    std::shared_ptr<DecodeBudget> decode_budget = make_decode_budget(options.decode_memory);
    std::unique_ptr<TensorFile> file;
    ModelInfo info;
    Engine engine;
    Network network;
    State state;
    Bound<Evaluator> evaluator;
    Bound<ImageEvaluator> image_evaluator;
    Bound<Predictor> predictor;
};

Model::Model(const std::string& model, const ModelOptions& options)
    : impl_(std::make_unique<Impl>(model, options, nullptr)) {}
Model::Model(const std::string& model, const ModelOptions& options, const Architecture& architecture)
    : impl_(std::make_unique<Impl>(model, options, &architecture)) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;

const ModelInfo& Model::info() const {
    return impl_->info;
}

Evaluation Model::evaluate(const std::vector<Sample>& samples, const std::vector<std::string>& classes,
                           const EvaluateOptions& options) {
    if (options.top_losses < 0)
        throw Error(ErrorKind::usage, "option not usable", fmt::format("--top-losses {}", options.top_losses),
                    "it must be 0 or more", "10 is a good number");
    const bool by_image = options.top_losses > 0 || options.tta;
    const std::vector<int> matched = match_classes(impl_->info, classes, impl_->options.log);
    std::vector<Sample> labelled = samples;
    for (Sample& sample : labelled) sample.label = matched.at(static_cast<std::size_t>(sample.label));
    const int batch = by_image ? impl_->prepare(impl_->image_evaluator, samples.size()).batch
                               : impl_->prepare(impl_->evaluator, samples.size()).batch;
    Communicator* const share = impl_->options.ranks.get();
    Loader loader(
        std::move(labelled),
        {.size = impl_->info.size,
         .batch_size = batch,
         .crop_pct = impl_->info.crop_pct,
         .training = false,
         .rank = share ? place_in(*share).rank : 0,
         .ranks = share ? place_in(*share).ranks : 1,
         .threads = worker_threads(impl_->options.threads),
         .cache_bytes = 0,
         .decode_budget = impl_->decode_budget,
         .faults = std::make_shared<ImageFaults>(ImageFaults::Rules{.bad_images = impl_->options.bad_images,
                                                                    .max_bad = impl_->options.max_bad,
                                                                    .images = samples.size(),
                                                                    .log = impl_->options.log})});
    // A file without names takes the folder's, whose order it has been matched with.
    const std::vector<std::string>& names = impl_->info.named ? impl_->info.classes : classes;
    Evaluation result = by_image ? impl_->image_evaluator.pass->evaluate(loader, samples, names, options,
                                                                         impl_->options.stop, share)
                                 : impl_->evaluator.pass->evaluate(loader, names, impl_->options.stop, share);
    if (!std::isfinite(result.loss)) refuse_overflow(impl_->info);
    return result;
}

std::vector<Prediction> Model::predict(const std::vector<std::string>& files, int top) {
    check_top(top);
    if (files.empty()) return {};
    std::vector<Prediction> answers =
        impl_->prepare(impl_->predictor, files.size())
            .pass->predict(files, impl_->info.classes, top,
                           {impl_->info.size, impl_->info.crop_pct, worker_threads(impl_->options.threads),
                            impl_->options.stop, impl_->options.max_pixels, impl_->decode_budget});
    for (const Prediction& answer : answers)
        for (const auto& entry : answer.top)
            if (!std::isfinite(entry.probability)) refuse_overflow(impl_->info);
    return answers;
}

}  // namespace onecycle
