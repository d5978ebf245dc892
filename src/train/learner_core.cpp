#include "train/learner_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "core/echoed.h"
#include "data/image_list.h"
#include "onecycle/error.h"
#include "rules/sample_order.h"
#include "train/fault_record.h"
#include "train/initial_weights.h"
#include "train/memory_need.h"

namespace onecycle {

namespace {

// Of the device's free memory, by images and programs. The rest is for copies of the state and what
// libraries want.
constexpr double usable_share = 0.9;

const Dataset& usable(const Dataset& dataset) {
    const auto refuse = [&](const std::string& why) {
        throw Error(ErrorKind::data, "cannot train", dataset.train_dir, why, "add images");
    };
    if (dataset.classes.size() < 2) refuse("training needs two classes or more");
    if (dataset.train.size() < 2) refuse("training needs two images or more");
    return dataset;
}

Dataset with_budget(Dataset dataset, const TrainOptions& options) {
    if (!dataset.decode_budget) dataset.decode_budget = make_decode_budget(options.decode_memory);
    return dataset;
}

// The options with what the data set knows of itself, and the job.
TrainOptions with_origin(TrainOptions options, const Dataset& dataset, const Communicator* ranks) {
    options.ranks = ranks ? ranks->place().ranks : 1;
    if (options.shares > 1 && batches_per_update(options) % options.shares != 0)
        throw Error(
            ErrorKind::usage, "option not usable", fmt::format("shares {}", options.shares),
            fmt::format("batches an update: {}, not equally many from each share of the images",
                        batches_per_update(options)),
            fmt::format("use --accumulate {}", options.shares / std::gcd(options.shares, options.ranks)));
    const DatasetOrigin& origin = dataset.origin;
    if (origin.folder.empty()) return options;
    options.data = origin.folder;
    options.valid = origin.valid_dir;
    options.valid_fraction = origin.valid_fraction;
    options.split_seed.reset();
    if (origin.seed != options.seed) options.split_seed = origin.seed;
    options.exclude = origin.exclude;
    options.labels = origin.labels;
    options.label_from = origin.label_from;
    return options;
}

// A set smaller than a batch is one batch: batch norm must see no empty rows.
int train_batch(const Dataset& dataset, int batch_size) {
    return static_cast<int>(
        std::min<std::size_t>(static_cast<std::size_t>(batch_size), dataset.train.size()));
}

// n / (classes * n_class): each class weighs the same in all, and the mean weight of an image is 1.
std::vector<float> balanced_weights(const Dataset& dataset) {
    const std::vector<std::int64_t> counts = class_counts(dataset.train, dataset.classes.size());
    const double share = static_cast<double>(dataset.train.size()) / static_cast<double>(counts.size());
    std::vector<float> weights;
    for (std::int64_t count : counts)
        weights.push_back(static_cast<float>(share / static_cast<double>(std::max<std::int64_t>(count, 1))));
    return weights;
}

// The training images as the device would keep them, where the options and the back end allow it. A
// share that is smaller than a batch has no updates: what refuses that comes later.
std::optional<ResidentSet> planned_set(const Dataset& dataset, const TrainOptions& options, int shares,
                                       const RankPlace& place, const std::shared_ptr<ImageFaults>& faults,
                                       const Backend& backend, int size) {
    if (options.input == "stream" || !backend.resident_images()) return {};
    if (std::ssize(dataset.train) / shares < train_batch(dataset, options.batch_size)) return {};
    return ResidentSet(dataset.train, training_rule(options, size), options.seed, shares, place, faults,
                       dataset.decode_budget);
}

ImageFaults::Rules fault_rules(const Dataset& dataset, const TrainOptions& options, const LogSink& log) {
    return {.bad_images = options.bad_images,
            .max_bad = options.max_bad,
            .images = dataset.train.size() + dataset.valid.size() + dataset.bad.size(),
            .left_out = dataset.bad.size(),
            .log = log};
}

std::vector<std::string> printable_names(const std::vector<std::string>& names) {
    std::vector<std::string> texts;
    for (const std::string& name : names) texts.push_back(printable(name));
    return texts;
}

}  // namespace

ProgramKey program_key(const TrainOptions& options, const Network& network, int batch) {
    return program_key(options, batch, stages_of(options, network).front());
}

ProgramKey program_key(const TrainOptions& options, int batch, const Stage& stage) {
    ProgramKey key;
    key.batch = batch;
    key.label_smoothing = static_cast<float>(options.label_smoothing);
    key.mixup = options.mixup;
    key.cutmix = options.cutmix;
    key.class_weights = options.balanced_class_weights;
    std::copy(options.mean.begin(), options.mean.end(), key.mean.begin());
    std::copy(options.stddev.begin(), options.stddev.end(), key.stddev.begin());
    key.optimizer = optimizer_options(options);
    key.frozen = stage.frozen;
    key.group_rates = stage.group_rates;
    key.seed = options.seed;
    return key;
}

LearnerCore::LearnerCore(const Dataset& dataset_, const TrainOptions& options_, Observer observer_,
                         const Architecture& architecture_)
    : dataset(with_budget(usable(dataset_), options_)),
      architecture(architecture_),
      options(resolved(with_origin(options_, dataset, observer_.ranks.get()), architecture)),
      observer(std::move(observer_)),
      class_names(printable_names(dataset.classes)),
      dataset_digest(digest(dataset)),
      packed_images(pack_image_list(dataset)),
      faults(std::make_shared<ImageFaults>(fault_rules(dataset, options, observer.log))),
      engine(make_engine(options.device, options.precision, options.threads,
                         {.deterministic = options.deterministic,
                          .graph = !options.no_graph,
                          .place = place(),
                          .ranks = observer.ranks.get()})),
      network(network_for(largest_size(options))),
      state(*engine.device, network,
            StateLayout(network, *engine.backend, options.decay_norm_and_bias, engine.compute),
            optimizer_options(options), place()),
      resident(planned_set(dataset, options, std::max(options.shares, 1), place(), faults, *engine.backend,
                           largest_size(options))),
      step(network, state.layout(), *engine.backend,
           with_input(program_key(options, network, train_batch(dataset, options.batch_size)))),
      evaluator(network, state.layout(), *engine.backend,
                program_key(options, network, train_batch(dataset, options.batch_size))) {
    if (options.balanced_class_weights) class_weights = balanced_weights(dataset);
    choose_input();
    const MemoryNeed need = memory_need(*this, step.batch());
    require_memory(*this, need, host_free);
    choose_image_store(host_free - need.total());
    bind_programs();
    // Whatever is too large for the device was found out by now.
    use(stages_of(options, network).front(), size_of_epoch(options, 0));
    state.initialise(options.seed);
    if (options.init != "random" && !observer.resumes) {
        load_initial_weights(state, options, architecture, class_names, observer.log);
        if (state.has_ema()) state.reset_ema();
    }
    if (steps_per_epoch() < 1)
        throw Error(ErrorKind::usage, "cannot train",
                    fmt::format("--accumulate {}", options.accumulate) +
                        (options.ranks > 1 ? fmt::format(" on {} ranks", options.ranks) : ""),
                    fmt::format("an epoch has only {} images, fewer than {} batches of {}",
                                dataset.train.size(), batches_per_update(options), step.batch()),
                    options.ranks > 1 ? "use fewer ranks, or a smaller --accumulate or --batch-size"
                                      : "use a smaller --accumulate or --batch-size");
}

Network LearnerCore::network_for(int size) const {
    return architecture.make(network_options(options, static_cast<int>(dataset.classes.size()), size));
}

void LearnerCore::bind_programs() {
    DeviceMemory& arena = arena_for(std::max(step.arena_bytes(), evaluator.arena_bytes()));
    step.bind(state, arena, class_weights, resident_memory());
    evaluator.bind(state, arena, state.has_ema());
}

void LearnerCore::use_plans(const std::string& record) {
    if (record.empty() || !engine.plans->prefer(record)) return;
    engine.device->synchronize();
    const ProgramKey key = step.programs().front().key;  // of the present stage
    make_programs(key);
    bind_programs();
    if (const std::string line = engine.plans->complaint(); !line.empty()) log(LogLevel::warning, line);
}

void LearnerCore::choose_input() {
    const std::size_t step_bytes = std::max(step.arena_bytes(), evaluator.arena_bytes());
    const auto room =
        static_cast<std::size_t>(usable_share * static_cast<double>(engine.device->free_memory()));
    const auto fits = [&](const std::optional<ResidentSet>& set) {
        return !set || set->bytes() + step_bytes <= room;
    };
    const auto fits_everywhere = [&](const std::optional<ResidentSet>& set) {
        return largest(*ranks(), fits(set) ? 0 : 1) == 0;
    };
    std::string sizes;
    if (resident)
        sizes = fmt::format("images and step need {}, {} may be used",
                            memory_text(resident->bytes() + step_bytes), memory_text(room));
    const bool may_be_spread = options.shares == 0 && ranks();
    options.shares = std::max(options.shares, 1);
    bool changed = false;
    if (may_be_spread && options.input != "stream" && steps_per_epoch() > 0 && !fits_everywhere(resident)) {
        std::optional<ResidentSet> share =
            planned_set(dataset, options, options.ranks, place(), faults, *engine.backend, size());
        if (share)
            sizes += fmt::format(", with 1/{} of the images {}", options.ranks,
                                 memory_text(share->bytes() + step_bytes));
        if (fits_everywhere(share)) {
            log(LogLevel::info,
                "the training images are spread over the ranks (not with --input stream): " + sizes);
            options.shares = options.ranks;
            resident = std::move(share);
            changed = true;
        }
    }
    if (!fits(resident)) {
        if (options.input == "resident")
            throw Error(ErrorKind::device, "not enough memory", "--input resident", sizes,
                        "use --input stream");
        log(LogLevel::info, "the training images stay on the host: " + sizes);
        resident.reset();
        changed = true;
    }
    if (changed)
        step = TrainStep(network, state.layout(), *engine.backend,
                         with_input(program_key(options, network, step.batch())));
    if (resident) resident->allocate(*engine.device);
}

void LearnerCore::choose_image_store(std::uint64_t free) {
    const StoreNeeds needs = store_needs(options, dataset.train, dataset.valid, resident.has_value());
    store = choose_store(options, needs, free);
    if (!store.line.empty()) log(LogLevel::info, store.line);
    if (store.folder.empty()) return;
    image_file = look_into_cache(options);
    std::uint64_t missing = 0;
    std::size_t found = 0;
    const auto count = [&](const std::vector<Sample>& samples, const KeptRule& rule) {
        std::vector<Sample> absent;
        for (const Sample& sample : samples)
            if (!image_file->contains(sample, rule.digest())) absent.push_back(sample);
        found += samples.size() - absent.size();
        missing += kept_bytes(rule, absent);
    };
    count(dataset.train, training_rule(options, largest_size(options)));
    count(dataset.valid, evaluation_rule(options, largest_size(options)));
    image_file->expect(missing);
    log(LogLevel::info, fmt::format("{} of {} images are in the cache {} ({:.0f} MB when all are)", found,
                                    dataset.train.size() + dataset.valid.size(), echoed(store.folder),
                                    static_cast<double>(needs.training + needs.evaluation) / 1e6));
}

const std::shared_ptr<KeptImages>& LearnerCore::training_images() {
    const KeptRule rule = training_rule(options, size());
    if (!kept || kept->rule().size != rule.size)
        kept = std::make_shared<KeptImages>(rule, store.training_bytes, image_file, dataset.decode_budget);
    return kept;
}

// Why images are no longer cached: other threads find it out.
void LearnerCore::tell_complaints() {
    if (!image_file) return;
    if (const std::string line = image_file->complaint(); !line.empty()) log(LogLevel::warning, line);
}

ProgramKey LearnerCore::with_input(ProgramKey key) const {
    if (resident) key.resident = resident->input();
    key.rank = place().rank;
    key.ranks = place().ranks;
    key.two_levels = two_levels;
    key.sync_batch_norm = options.sync_batch_norm && key.ranks > 1;
    return key;
}

int LearnerCore::start_batches(const TrainStep& used, Loader& loader, std::int64_t first, std::int64_t last) {
    int signal = 0;
    if (used.takes_batches())
        loader.start(first, last);
    else
        signal = resident->fill(*training_images(), worker_threads(options.threads), observer.stop,
                                observer.log, next_batch);
    tell_complaints();
    if (ranks()) signal = static_cast<int>(largest(*ranks(), signal));
    return signal;
}

int LearnerCore::signal_of(const LoopEnd& end) const {
    if (end.signal != 0 || !end.asked) return end.signal;
    return static_cast<int>(
        largest(*ranks(), stop_signal()));  // a rank may have had it between two questions
}

void LearnerCore::compare_ranks() const {
    if (!ranks()) return;
    const std::vector<std::string> digests = all_gather(*ranks(), state.digest()),
                                   hosts = all_gather(*ranks(), place().host);
    for (std::size_t r = 1; r < digests.size(); ++r)
        if (digests[r] != digests[0])
            throw Error(ErrorKind::device, "the ranks' weights differ",
                        fmt::format("rank {} on {}", r, printable(hosts[r])),
                        fmt::format("after update {} they are not those of rank 0 on {}",
                                    state.read_progress().update, printable(hosts[0])),
                        "use machines of one kind, look for faulty memory, and continue with --resume");
}

void LearnerCore::share_faults(std::int64_t before_batch) const {
    if (!ranks()) return;
    std::map<std::pair<bool, std::int64_t>, ImageFault> all;
    for (const std::string& record : all_gather(*ranks(), fault_record(faults->before(before_batch))))
        for (const ImageFault& fault : faults_from_record(record, dataset, "a rank")) {
            ImageFault& known = all.try_emplace({fault.training, fault.sample}, fault).first->second;
            if (fault.from < known.from) known = fault;
        }
    std::vector<ImageFault> list;
    for (const auto& [place, fault] : all) list.push_back(fault);
    faults->restore(list);
}

std::int64_t LearnerCore::steps_per_epoch() const {
    return SampleOrder{.samples = std::ssize(dataset.train),
                       .batch = step.batch(),
                       .batches_per_update = static_cast<int>(batches_per_update(options))}
        .updates_per_epoch();
}

std::unique_ptr<Loader> LearnerCore::make_train_loader(int batch) {
    return std::make_unique<Loader>(
        dataset.train, LoaderOptions{.size = size(),
                                     .batch_size = batch,
                                     .augment = options.augment,
                                     .crop_pct = options.crop_pct,
                                     .batches_per_update = static_cast<int>(batches_per_update(options)),
                                     .rank = place().rank,
                                     .ranks = place().ranks,
                                     .shares = options.shares,
                                     .seed = options.seed,
                                     .threads = worker_threads(options.threads),
                                     .kept = training_images(),
                                     .faults = faults});
}

Loader& LearnerCore::train_loader() {
    if (!train) train = make_train_loader(step.batch());
    return *train;
}

std::unique_ptr<Loader> LearnerCore::make_evaluation_loader(const std::vector<Sample>& samples,
                                                            std::shared_ptr<ImageFaults> record) const {
    if (samples.empty())
        throw Error(ErrorKind::data, "cannot evaluate", dataset.valid_dir,
                    "there are no images to evaluate on",
                    "add images, name a folder with --valid, or leave --valid-fraction out");
    auto views = std::make_shared<KeptImages>(evaluation_rule(options, size()), store.evaluation_bytes,
                                              image_file, dataset.decode_budget);
    return std::make_unique<Loader>(samples, LoaderOptions{.size = size(),
                                                           .batch_size = step.batch(),
                                                           .crop_pct = options.crop_pct,
                                                           .training = false,
                                                           .rank = place().rank,
                                                           .ranks = place().ranks,
                                                           .threads = worker_threads(options.threads),
                                                           .kept = std::move(views),
                                                           .faults = std::move(record)});
}

Loader& LearnerCore::valid_loader() {
    tell_complaints();
    if (!valid) valid = make_evaluation_loader(dataset.valid, faults);
    return *valid;
}

Evaluator& LearnerCore::bound_evaluator() {
    if (!full_evaluator) {
        ProgramKey key = program_key(options, network, step.batch());
        key.confusion = true;
        full_evaluator = std::make_unique<Evaluator>(network, state.layout(), *engine.backend, key);
        full_evaluator->bind(state, arena_for(full_evaluator->arena_bytes()), state.has_ema());
    }
    return *full_evaluator;
}

Predictor& LearnerCore::bound_predictor() {
    if (!predictor) {
        predictor = std::make_unique<Predictor>(network, state.layout(), *engine.backend,
                                                program_key(options, network, step.batch()));
        predictor->bind(state, arena_for(predictor->arena_bytes()), state.has_ema());
    }
    return *predictor;
}

void LearnerCore::use(const Stage& stage, int new_size) {
    const ProgramKey& now = step.programs().front().key;
    const bool resized = new_size != size();
    if (!resized && now.frozen == stage.frozen && now.group_rates == stage.group_rates) return;
    engine.device->synchronize();
    if (resized) {
        network = network_for(new_size);
        train.reset();
        valid.reset();
        // Crops are drawn from the images of the largest size; whole views are kept as they are
        // used.
        if (resident && !crops_at_random(options.augment)) {
            resident.reset();
            resident =
                planned_set(dataset, options, options.shares, place(), faults, *engine.backend, new_size);
            resident->allocate(*engine.device);
        }
    }
    make_programs(with_input(program_key(options, step.batch(), stage)));
    if (std::max(step.arena_bytes(), evaluator.arena_bytes()) > arenas.front()->size()) arenas.clear();
    bind_programs();
}

void LearnerCore::make_programs(const ProgramKey& key) {
    step = TrainStep(network, state.layout(), *engine.backend, key);
    evaluator = Evaluator(network, state.layout(), *engine.backend, program_key(options, network, key.batch));
    full_evaluator.reset();
    predictor.reset();
}

DeviceMemory& LearnerCore::arena_for(std::size_t bytes) {
    for (const auto& arena : arenas)
        if (arena->size() >= bytes) return *arena;
    return *arenas.emplace_back(std::make_unique<DeviceMemory>(*engine.device, bytes));
}

}  // namespace onecycle
