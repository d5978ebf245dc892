#include "onecycle/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "onecycle/error.h"
#include "train/engine.h"
#include "train/image_store.h"
#include "train/option_words.h"
#include "train/stages.h"

namespace onecycle {

namespace {

// Of the alpha of mixup and cutmix: every two images are then mixed nearly half and half.
constexpr double largest_mix_alpha = 1000;

template <class T>
void require(bool ok, const char* option, const T& value, const char* why, const char* fix) {
    if (!ok) refuse_option(fmt::format("{} {}", option, value), why, fix);
}

// "a, b or c"
void check_size(const Architecture& architecture, const TrainOptions& o, const std::string& option,
                int size) {
    const int least = architecture.smallest(o.stem);
    if (size < least || size > 4096)
        refuse_option(option, fmt::format("a size must be between {} and 4096 pixels", least),
                      "224 is the default of --size");
}

void check_sizes(const TrainOptions& o, const Architecture& architecture) {
    if (o.sizes.empty()) return;
    const std::string option = "--sizes " + to_string(o.sizes);
    std::int64_t epochs = 0;
    for (const SizedEpochs& part : o.sizes) {
        check_size(architecture, o, option, part.size);
        if (part.epochs < 1 || part.epochs > 1'000'000)
            refuse_option(option, "each size needs a number of epochs, from 1", "for example 64:2,128:3");
        epochs += part.epochs;
    }
    if (epochs != o.epochs)
        refuse_option(option, fmt::format("its epochs sum to {}, --epochs is {}", epochs, o.epochs),
                      fmt::format("leave --epochs out, or use --epochs {}", epochs));
    if (o.size != o.sizes.back().size)
        refuse_option(option, fmt::format("its last size is {}, --size is {}", o.sizes.back().size, o.size),
                      "leave --size out");
}

void check_images(const TrainOptions& o, const Architecture& architecture) {
    require(o.valid_fraction >= 0 && o.valid_fraction < 1, "--valid-fraction", o.valid_fraction,
            "it must be at least 0 and below 1", "0.2 is the default; 0 holds nothing out");
    require(o.max_bad >= 0 && o.max_bad <= 1, "--max-bad", o.max_bad, "it must be between 0 and 1",
            "0.05 is the default");
    require(o.max_pixels >= 1 && o.max_pixels <= 65535ll * 65535, "--max-pixels", o.max_pixels,
            "it must be between 1 and 4294836225", "178956970 is the default");
    architecture.require(o.head);
    if (o.sizes.empty()) check_size(architecture, o, fmt::format("--size {}", o.size), o.size);
    require(o.crop_pct >= least_crop_pct && o.crop_pct <= 1, "--crop-pct", o.crop_pct,
            "it must be between 0.1 and 1", "0.875 is the default");
    for (double mean : o.mean)
        require(std::isfinite(mean), "--mean", mean, "it must be a number",
                "give three, as 0.485,0.456,0.406");
    for (double deviation : o.stddev)
        require(std::isfinite(deviation) && deviation > 0, "--std", deviation, "it must be above 0",
                "give three, as 0.229,0.224,0.225");
    require(!o.init.empty(), "--init", "\"\"", "it is empty", "use random or a file");
    if (o.init == "random" && (o.init_ema || !o.classes.empty()))
        throw Error(ErrorKind::usage, "option not usable",
                    o.init_ema ? "--init-ema" : "--classes " + o.classes,
                    "it tells of the file of --init, and there is none", "leave it out, or add --init FILE");
    require(o.dropout >= 0 && o.dropout < 1, "--dropout", o.dropout, "it must be at least 0 and below 1",
            "0.5 is the default");
}

void check_stages(const TrainOptions& o, const Architecture& architecture) {
    const Network network = architecture.make(network_options(o, 2, o.size));
    for (const std::string& frozen : {o.freeze, std::string(o.freeze_epochs > 0 ? "body" : "none")})
        frozen_parts(network, frozen);
    require(o.freeze_epochs >= 0 && o.freeze_epochs <= 1'000'000, "--freeze-epochs", o.freeze_epochs,
            "it must be 0 (no such stage) or a number of epochs", "1 is the default for finetune");
    require(o.lr_mult > 0 && std::isfinite(o.lr_mult), "--lr-mult", o.lr_mult, "it must be above 0",
            "100 is the default for finetune");
    if (o.freeze_bn)
        require(o.freeze != "none" || o.freeze_epochs > 0, "--freeze-bn with --freeze", o.freeze,
                "nothing is frozen whose norms it could keep", "add --freeze body, or leave it out");
}

void check_learning(const TrainOptions& o) {
    require(o.batch_size >= 2 && o.batch_size <= 65536, "--batch-size", o.batch_size,
            "it must be between 2 and 65536: batch norm needs more than one image", "64 is the default");
    require(o.weight_decay.value_or(0) >= 0 && std::isfinite(o.weight_decay.value_or(0)), "--weight-decay",
            o.weight_decay.value_or(0), "it must be 0 or more", "1e-4 is the default for sgd");
    require(o.beta2 >= 0 && o.beta2 < 1, "--beta2", o.beta2, "it must be at least 0 and below 1",
            "0.99 is the default");
    require(o.eps > 0 && std::isfinite(o.eps), "--eps", o.eps, "it must be above 0", "1e-5 is the default");
    require(o.trust_coefficient > 0 && std::isfinite(o.trust_coefficient), "--trust-coefficient",
            o.trust_coefficient, "it must be above 0", "0.001 is the default");
    require(o.mixup >= 0 && o.mixup <= largest_mix_alpha, "--mixup", o.mixup,
            "it must be 0 (off) or above, up to 1000", "0.4 is usual");
    require(o.cutmix >= 0 && o.cutmix <= largest_mix_alpha, "--cutmix", o.cutmix,
            "it must be 0 (off) or above, up to 1000", "1 is usual");
    require(o.label_smoothing >= 0 && o.label_smoothing < 1, "--label-smoothing", o.label_smoothing,
            "it must be at least 0 and below 1", "0.1 is common");
    require(o.clip_norm >= 0 && std::isfinite(o.clip_norm), "--clip-norm", o.clip_norm,
            "it must be 0 (off) or more", "1 is common");
    require(o.accumulate >= 1 && o.accumulate <= 65536, "--accumulate", o.accumulate,
            "it must be between 1 and 65536", "1 is the default");
    require(o.ranks >= 1 && batches_per_update(o) <= 65536, "ranks", o.ranks,
            "an update takes at most 65536 batches", "use fewer ranks or a smaller --accumulate");
    require(o.shares >= 0 && o.shares <= 65536, "shares", o.shares,
            "it must be 0 (chosen by what fits) or a number", "leave it out");
    require(o.ema >= 0 && o.ema < 1, "--ema", o.ema, "it must be 0 (off) or below 1", "0.999 is common");
    require(o.threads >= 0 && o.threads <= 4096, "--threads", o.threads,
            "it must be 0 (all cores) or a small number", "leave it out to use all cores");
    require_one_of("--input", o.input, {"auto", "resident", "stream"});
    require(o.checkpoint_every >= 0, "--checkpoint-every", o.checkpoint_every,
            "it must be 0 (each epoch) or a number of steps", "leave it out to save each epoch");
    const PolicyOptions policy = policy_options(o);
    check_policy(policy, o.epochs, o.max_lr);
    if (o.nesterov) {
        require(o.optimizer == OptimizerKind::sgd, "--nesterov with --optimizer", to_string(o.optimizer),
                "only sgd has it", "leave one of them out");
        require(momentum_range(policy).low > 0, "--nesterov with --momentum", momentum_range(policy).low,
                "it needs a momentum above 0", "leave one of them out");
    }
}

void check_batch_pixels(const TrainOptions& o) {
    // A terabyte of activations even in the smallest network; libraries count what is larger in too
    // few bits.
    constexpr double most = 68'719'476'736.0;
    const int side = std::ranges::max(sizes_of(o), {}, &SizedEpochs::size).size;
    if (o.batch_size * static_cast<double>(side) * side > most)
        refuse_option(fmt::format("--batch-size {} with --size {}", o.batch_size, side),
                      "no memory holds such a batch", "use a smaller --batch-size or --size");
}

std::string absolute(const std::string& path) {
    return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

}  // namespace

double default_weight_decay(OptimizerKind kind) {
    return kind == OptimizerKind::adamw || kind == OptimizerKind::lamb ? 1e-2 : 1e-4;
}

std::int64_t all_epochs(const TrainOptions& options) {
    return options.freeze_epochs + options.epochs;
}

void check(const TrainOptions& options) {
    check(options, architecture(options.arch));
}

void check(const TrainOptions& options, const Architecture& architecture) {
    check_images(options, architecture);
    check_sizes(options, architecture);
    check_learning(options);
    check_batch_pixels(options);
    check_stages(options, architecture);
    choose_device(options.device, options.precision);
}

TrainOptions resolved(const TrainOptions& options) {
    return resolved(options, architecture(options.arch));
}

TrainOptions resolved(const TrainOptions& options, const Architecture& architecture) {
    check(options, architecture);
    TrainOptions o = options;
    o.arch = architecture.name;
    o.data = absolute(o.data);
    o.valid = absolute(o.valid);
    o.labels = absolute(o.labels);
    if (o.init != "random") o.init = absolute(o.init);
    o.classes = absolute(o.classes);
    if (o.cache != "off") o.cache = absolute(o.cache);
    const PolicyOptions policy = with_defaults(policy_options(o));
    o.pct_start = policy.pct_start;
    o.div = policy.div;
    o.final_div = policy.final_div;
    o.anneal = policy.anneal;
    o.momentum = policy.momentum;
    o.retest_lr = o.freeze_epochs > 0 && (o.retest_lr || !o.max_lr);
    o.weight_decay = o.weight_decay.value_or(default_weight_decay(o.optimizer));
    const DeviceChoice choice = choose_device(o.device, o.precision);
    o.device = choice.device;
    o.precision = choice.precision;
    return o;
}

DatasetOptions dataset_options(const TrainOptions& o, LogSink log, std::function<int()> stop) {
    std::function<bool(Sample&)> checked_before;
    if (const auto cache = look_into_cache(o))
        checked_before = [cache](Sample& sample) { return cache->checked_before(sample); };
    return {.valid_dir = o.valid,
            .valid_fraction = o.valid_fraction,
            .seed = o.split_seed.value_or(o.seed),
            .exclude = o.exclude,
            .labels = o.labels,
            .label_from = o.label_from,
            .bad_images = o.bad_images,
            .max_bad = o.max_bad,
            .max_pixels = o.max_pixels,
            .decode_memory = o.decode_memory,
            .threads = worker_threads(o.threads),
            .stop = std::move(stop),
            .checked_before = std::move(checked_before),
            .index_folder = cache_folder(o),
            .log = std::move(log)};
}

NetworkOptions network_options(const TrainOptions& o, int classes, int size) {
    return {.classes = classes,
            .size = size,
            .stem = o.stem,
            .zero_init_residual = o.zero_init_residual,
            .head = o.head,
            .dropout = o.dropout};
}

PolicyOptions policy_options(const TrainOptions& o) {
    const bool fine_tune = o.policy == fine_tune_policy;
    return {.policy = fine_tune ? "onecycle:fastai" : o.policy,
            .momentum = o.momentum,
            .pct_start = fine_tune ? o.pct_start.value_or(0.3) : o.pct_start,
            .div = fine_tune ? o.div.value_or(5) : o.div,
            .final_div = o.final_div,
            .anneal = o.anneal,
            .three_phase = o.three_phase};
}

OptimizerOptions optimizer_options(const TrainOptions& o) {
    return {.kind = o.optimizer,
            .nesterov = o.nesterov,
            .beta2 = o.beta2,
            .epsilon = o.eps,
            .weight_decay = o.weight_decay.value_or(default_weight_decay(o.optimizer)),
            .trust_coefficient = o.trust_coefficient,
            .clip_norm = o.clip_norm,
            .accumulate = o.accumulate,
            .ema_decay = o.ema};
}

}  // namespace onecycle
