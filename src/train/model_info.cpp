#include "train/model_info.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "core/echoed.h"
#include "core/unicode.h"
#include "formats/weights_recipe.h"
#include "onecycle/error.h"
#include "onecycle/run_folder.h"
#include "train/class_names.h"
#include "train/model_tensors.h"
#include "train/options_record.h"

namespace onecycle {

namespace {

constexpr const char* cannot_use = "cannot use model";

// Its tensors are those of any other size.
Network any_size(const Architecture& architecture, NetworkOptions options) {
    options.size = std::max(options.size, architecture.smallest(options.stem));
    return architecture.make(options);
}

// The last layer's weight: its rows are the classes.
std::string classifier_of(const Network& network) {
    return network.layers().back().name + ".weight";
}

// How the tensors of an architecture are told: by those that its network has first.
NetworkMarks marks_of(const Architecture& architecture) {
    const Network network = any_size(architecture, {});
    NetworkMarks marks;
    marks.children = architecture.children;
    for (const Parameter& parameter : network.parameters()) {
        if (parameter.role != ParameterRole::conv_weight) continue;
        (marks.first.empty() ? marks.first : marks.second) = parameter.name;
        if (!marks.second.empty()) break;
    }
    if (!network.statistics().empty()) marks.statistics = network.statistics().front() + ".running_mean";
    marks.classifier = classifier_of(network);
    return marks;
}

// The built-in ones, `own` before them.
std::vector<const Architecture*> all_architectures(const Architecture* own) {
    std::vector<const Architecture*> all;
    if (own) all.push_back(own);
    for (const Architecture& built_in : architectures()) all.push_back(&built_in);
    return all;
}

// The rows of the classifier of such a network; 0: the file has none.
int rows_of(const TensorFile& file, const std::string& classifier) {
    const TensorInfo* const tensor = file.find(classifier);
    if (!tensor) return 0;
    if (tensor->shape.size() != 2 || tensor->shape[0] < 1 || tensor->shape[0] > 1'000'000)
        refuse_file(
            file,
            fmt::format("{} is {}: no classifier has that shape", classifier, shape_text(tensor->shape)),
            "give another file");
    return static_cast<int>(tensor->shape[0]);
}

// How many of the network's tensors the file has, less those that it lacks or has in another shape.
int likeness(const TensorFile& file, const Architecture& architecture, NetworkOptions options) {
    options.classes = std::max(1, rows_of(file, classifier_of(any_size(architecture, options))));
    int score = 0;
    for (const auto& [name, shape] : named_shapes(any_size(architecture, options))) {
        const TensorInfo* const tensor = file.find(name);
        score += tensor && tensor->shape == shape ? 1 : -1;
    }
    return score;
}

// The architecture, stem and head whose tensors a file from elsewhere has, or nearly has.
void recognise(const TensorFile& file, const Architecture* own, ModelInfo& info) {
    int best = std::numeric_limits<int>::min();
    for (const Architecture* const candidate : all_architectures(own)) {
        const NetworkMarks marks = marks_of(*candidate);
        if (!file.find(marks.first) || (!marks.second.empty() && !file.find(marks.second))) continue;
        for (const Stem stem : {Stem::imagenet, Stem::small})
            for (const Head head : {Head::linear, Head::fastai}) {
                if (stem == Stem::small && !candidate->smallest_size_small_stem) continue;
                if (head == Head::fastai && !candidate->fastai_head) continue;
                const int score = likeness(file, *candidate, {.stem = stem, .head = head});
                if (score <= best) continue;
                best = score;
                info.architecture = *candidate;
                info.stem = stem;
                info.head = head;
            }
    }
    if (info.architecture.build) return;
    std::vector<std::string> names;
    for (const auto& [name, index] : file.names()) names.push_back(name);
    std::string why;
    for (const Architecture& known : architectures())
        if (known.near_miss && why.empty()) why = known.near_miss(names);
    if (why.empty())
        why = "its tensors are those of no network that is built in: it has " +
              (names.empty() ? "none" : first_names(names));
    refuse_file(file, why, "give a model of " + architecture_names());
}

// What a file of ours says. False: it is from elsewhere.
bool read_architecture(const TensorFile& file, const Architecture* own, ModelInfo& info) {
    const auto said = [&](const char* key) {
        const auto found = info.metadata.find(key);
        return found == info.metadata.end() ? std::string() : found->second;
    };
    const std::string name = said("arch");
    if (name.empty() || said("stem").empty() || said("head").empty()) return false;
    for (const Architecture* const candidate : all_architectures(own))
        if (candidate->name == name && !info.architecture.build) info.architecture = *candidate;
    if (!info.architecture.build)
        refuse_file(file, fmt::format("its network '{}' is not built in", echoed(name)),
                    "use the program that trained it, which gives the network to onecycle::Model");
    info.stem = said("stem") == to_string(Stem::small) ? Stem::small : Stem::imagenet;
    info.head = said("head") == to_string(Head::fastai) ? Head::fastai : Head::linear;
    if ((info.stem == Stem::small && !info.architecture.smallest_size_small_stem) ||
        (info.head == Head::fastai && !info.architecture.fastai_head))
        refuse_file(file, "its stem or its head is one that " + name + " does not have",
                    "give a file that was not changed");
    return true;
}

// Whether a tensor is part of a module that these are of.
bool is_among(const NamedShapes& shapes, const std::string& name) {
    const std::string module = name.substr(0, name.find('.') + 1);
    const auto next = shapes.lower_bound(module);
    return !module.empty() && next != shapes.end() && next->first.starts_with(module);
}

// The tensors must be those of the network: none missing, none too many, every shape right. Single
// numbers do not matter, nor does beside a backbone what is not of it: the head that it was trained
// with.
void check_tensors(const TensorFile& file, const ModelInfo& info) {
    std::vector<std::string> missing, extra, other_shape;
    const auto shapes = shapes_of(info);
    for (const auto& [name, shape] : shapes) {
        const TensorInfo* tensor = file.find(name);
        if (!tensor) missing.push_back(name);
        if (tensor && tensor->shape != shape)
            other_shape.push_back(
                fmt::format("{} is {}, not {}", name, shape_text(tensor->shape), shape_text(shape)));
    }
    for (const auto& [name, index] : file.names())
        if (!shapes.count(name) && !name.ends_with(".num_batches_tracked") &&
            !file.tensors()[index].shape.empty() && (!info.backbone() || is_among(shapes, name)) &&
            !(info.trained_here() && is_training_state(name)))
            extra.push_back(name);
    const std::string fix = "give a model of " + architecture_names();
    std::vector<std::string> faults;
    if (!missing.empty()) faults.push_back("lacks " + first_names(missing));
    if (!other_shape.empty()) faults.push_back("has other shapes: " + first_names(other_shape));
    if (!extra.empty()) faults.push_back("also holds " + first_names(extra));
    if (!faults.empty())
        refuse_file(file, fmt::format("it looks like {} but {}", info.arch, fmt::join(faults, "; it ")), fix);
}

std::array<double, 3> triple_from(const std::map<std::string, std::string>& metadata, const std::string& key,
                                  const std::array<double, 3>& otherwise) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) return otherwise;
    std::array<double, 3> values{};
    const char* at = found->second.data();
    const char* const end = at + found->second.size();
    for (double& value : values) {
        const auto parsed = std::from_chars(at, end, value);
        if (parsed.ec != std::errc()) return otherwise;
        at = parsed.ptr == end ? end : parsed.ptr + 1;
    }
    return values;
}

constexpr double usual_split_fraction = 0.2;

// Size, crop, mean and deviation, where the file has its own.
void read_conventions(const TensorFile& file, ModelInfo& info) {
    const auto require = [&](bool good, const char* key) {
        if (!good)
            refuse_file(file,
                        fmt::format("its {} is out of range: {}", key, printable(info.metadata.at(key))),
                        "give a file that was not changed");
    };
    const double size = number_from(info.metadata, "size", info.size);
    require(size >= 1 && size <= 4096, "size");
    info.size = static_cast<int>(size);
    info.crop_pct = number_from(info.metadata, "crop_pct", info.crop_pct);
    require(info.crop_pct >= least_crop_pct && info.crop_pct <= 1, "crop_pct");
    info.mean = triple_from(info.metadata, "mean", info.mean);
    for (const double mean : info.mean) require(std::isfinite(mean), "mean");
    info.stddev = triple_from(info.metadata, "std", info.stddev);
    for (const double deviation : info.stddev) require(std::isfinite(deviation) && deviation > 0, "std");
    const double fraction = number_from(info.metadata, "split_fraction", usual_split_fraction);
    require(fraction >= 0 && fraction < 1, "split_fraction");
}

}  // namespace

KnownNetworks known_networks(const Architecture* own) {
    KnownNetworks known;
    for (const Architecture* const architecture : all_architectures(own)) {
        known.published.insert(known.published.end(), architecture->published.begin(),
                               architecture->published.end());
        NetworkMarks marks = marks_of(*architecture);
        if (!marks.second.empty() && std::ranges::find(known.marks, marks) == known.marks.end())
            known.marks.push_back(std::move(marks));
    }
    return known;
}

NamedShapes shapes_of(const ModelInfo& info) {
    const Network network = network_of(info);
    NamedShapes shapes = named_shapes(network);
    if (info.backbone())
        for (const std::string& name : head_names(network)) shapes.erase(name);
    return shapes;
}

std::string to_text(double value) {
    return fmt::format("{}", value);
}

double number_from(const std::map<std::string, std::string>& metadata, const std::string& key,
                   double otherwise) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) return otherwise;
    double value = otherwise;
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
    return value;
}

std::int64_t count_from(const std::map<std::string, std::string>& metadata, const std::string& key,
                        std::int64_t otherwise) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) return otherwise;
    std::int64_t value = -1;
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
    return value < 0 ? otherwise : value;
}

ModelInfo describe_model(const TensorFile& file, const Architecture* own) {
    ModelInfo info{.path = file.path(), .weights = file.weights(), .metadata = file.metadata()};
    if (!info.weights.problem.empty()) refuse_file(file, info.weights.problem, info.weights.fix);
    if (!read_architecture(file, own, info)) recognise(file, own, info);
    info.arch = info.architecture.name;
    info.class_count = rows_of(file, classifier_of(network_of(info)));
    check_tensors(file, info);
    file.verify_name();  // after what is known at once

    if (const auto format = info.metadata.find(format_key);
        format != info.metadata.end() && format->second != format_version)
        refuse_file(file, "it was written by another version (format " + echoed(format->second) + ")",
                    "use that version, or a newer one");
    if (const auto classes = info.metadata.find("classes"); classes != info.metadata.end())
        info.classes = from_json_list(classes->second);
    if (info.trained_here() && info.classes.empty())
        refuse_file(file, "its list of classes is not readable", "give a file that was not changed");
    if (!info.classes.empty() && info.classes.size() != static_cast<std::size_t>(info.class_count))
        refuse_file(
            file,
            fmt::format("it names {} classes but its head has {}", info.classes.size(), info.class_count),
            "give a file that was not changed");
    const std::set<std::string> different(info.classes.begin(), info.classes.end());
    if (different.size() != info.classes.size())
        refuse_file(file, "it names a class twice", "give a file that was not changed");
    info.named = !info.classes.empty();
    if (!info.named)
        for (int i = 0; i < info.class_count; ++i) info.classes.push_back(std::to_string(i));

    read_conventions(file, info);
    return info;
}

std::unique_ptr<TensorFile> open_model(const std::string& model, bool init_ema, const Architecture* own) {
    std::string path = resolve_model(model);
    for (;;) {
        try {
            return open_tensor_file(path, init_ema, known_networks(own));
        } catch (const Error&) {
            // A run that is trained in may have replaced its best checkpoint since it was named.
            if (std::string now = resolve_model(model); now != path)
                path = std::move(now);
            else
                throw;
        }
    }
}

ModelInfo read_model_info(const std::string& model, bool init_ema) {
    return describe_model(*open_model(model, init_ema));
}

ModelInfo require_architecture(ModelInfo info, const Architecture* own) {
    if (own && info.arch != own->name)
        throw Error(ErrorKind::model, cannot_use, info.path,
                    fmt::format("it is a {}; asked for is {}", echoed(info.arch), own->name),
                    "give a model of that network");
    return info;
}

ModelInfo require_classifier(ModelInfo info) {
    if (info.backbone())
        throw Error(ErrorKind::model, cannot_use, info.path,
                    fmt::format("it has no classifier: it is the body of a {} alone", info.arch),
                    fmt::format("train one on images of yours: onecycle finetune DATA --init {}",
                                shell_word(info.path)));
    return info;
}

std::string taken_text(const ModelInfo& info) {
    const WeightsPlace& w = info.weights;
    std::vector<std::string> others;
    for (const std::string& other : w.others) others.push_back(echoed(other));
    std::string text = fmt::format("'{}' was taken", echoed(w.taken));
    if (!w.others.empty())
        text += fmt::format("; '{}' {} too ({})", fmt::join(others, "', '"),
                            w.others.size() == 1 ? "fits" : "fit",
                            w.ema ? "without --init-ema weights go before their average"
                                  : "--init-ema takes a moving average");
    return text;
}

void check_model(const std::string& model, bool init_ema) {
    const auto file = open_model(model, init_ema);
    const ModelInfo info = describe_model(*file);
    file->verify();
    std::vector<float> values;
    for (const auto& [name, shape] : shapes_of(info)) read_checked(*file, name, shape, values);
}

bool trained_on(const ModelInfo& info, const Dataset& dataset) {
    const auto recorded = info.metadata.find("dataset");
    return recorded != info.metadata.end() && recorded->second == digest(dataset);
}

std::optional<RecordedSplit> recorded_split(const ModelInfo& info) {
    const auto seed = info.metadata.find("split_seed");
    if (seed == info.metadata.end()) return std::nullopt;
    RecordedSplit split{.valid_fraction = number_from(info.metadata, "split_fraction", usual_split_fraction)};
    std::from_chars(seed->second.data(), seed->second.data() + seed->second.size(), split.seed);
    if (const auto dataset = info.metadata.find("dataset"); dataset != info.metadata.end())
        split.dataset_digest = dataset->second;
    return split;
}

ModelInfo with_options(ModelInfo info, const ModelOptions& options) {
    if (!options.classes.empty()) info = with_class_names(std::move(info), options.classes);
    info.size = options.size.value_or(info.size);
    info.crop_pct = options.crop_pct.value_or(info.crop_pct);
    info.mean = options.mean.value_or(info.mean);
    info.stddev = options.stddev.value_or(info.stddev);
    // The same ranges as in a training; a batch of one is fine here.
    check(TrainOptions{.arch = info.arch,
                       .stem = info.stem,
                       .size = info.size,
                       .crop_pct = info.crop_pct,
                       .mean = info.mean,
                       .stddev = info.stddev,
                       .batch_size = options.batch_size == 1 ? 2 : options.batch_size,
                       .threads = options.threads,
                       .device = options.device,
                       .precision = options.precision},
          info.architecture);
    return info;
}

Network network_of(const ModelInfo& info, int size) {
    return info.architecture.make(
        {.classes = std::max(info.class_count, 1), .size = size, .stem = info.stem, .head = info.head});
}

Network network_of(const ModelInfo& info) {
    return any_size(info.architecture,
                    {.classes = std::max(info.class_count, 1), .stem = info.stem, .head = info.head});
}

ClassDifference compare_classes(const std::vector<std::string>& model,
                                const std::vector<std::string>& folder) {
    std::map<std::string, int> known;
    for (std::size_t c = 0; c < model.size(); ++c) known.emplace(nfc(model[c]), static_cast<int>(c));
    ClassDifference difference;
    std::set<int> met;
    for (const std::string& name : folder) {
        const auto found = known.find(nfc(printable(name)));
        const bool matches = found != known.end() && met.insert(found->second).second;
        difference.matched.push_back(matches ? found->second : -1);
        if (!matches) difference.extra.push_back(printable(name));
    }
    for (std::size_t c = 0; c < model.size(); ++c)
        if (!met.count(static_cast<int>(c))) difference.missing.push_back(printable(model[c]));
    // Two names that look the same are shown so that they do not.
    for (std::string& missing : difference.missing)
        for (std::string& extra : difference.extra) {
            if (lookalike_key(missing) != lookalike_key(extra)) continue;
            missing = spelled_out(missing);
            extra = spelled_out(extra);
        }
    return difference;
}

std::string ClassDifference::text(const std::string& folder) const {
    const std::string lacks =
                          fmt::format("lacks {} of its classes ({})", missing.size(), first_names(missing)),
                      has = fmt::format("has {} other{} ({})", extra.size(), extra.size() == 1 ? "" : "s",
                                        first_names(extra));
    if (extra.empty()) return folder + " " + lacks;
    return folder + " " + (missing.empty() ? has : lacks + " and " + has);
}

std::map<std::string, std::string> model_metadata(const TrainOptions& o,
                                                  const std::vector<std::string>& classes) {
    const auto triple = [](const std::array<double, 3>& v) {
        return fmt::format("{},{},{}", v[0], v[1], v[2]);
    };
    return {{format_key, format_version},       {"arch", o.arch},
            {"stem", to_string(o.stem)},        {"head", to_string(o.head)},
            {"classes", to_json_list(classes)}, {"size", std::to_string(o.size)},
            {"crop_pct", to_text(o.crop_pct)},  {"mean", triple(o.mean)},
            {"std", triple(o.stddev)}};
}

}  // namespace onecycle
