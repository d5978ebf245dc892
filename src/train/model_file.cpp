#include "train/model_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "core/unicode.h"
#include "formats/weights_recipe.h"
#include "onecycle/error.h"
#include "onecycle/run_folder.h"
#include "train/class_names.h"
#include "train/options_record.h"
#include "train/recorded_images.h"

namespace onecycle {

namespace {

constexpr const char* cannot_use = "cannot use model";

[[noreturn]] void refuse(const TensorFile& file, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::model, cannot_use, file.path(), why, fix);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
    return fmt::format("[{}]", fmt::join(shape, ","));
}

// Every tensor's name and shape that torchvision gives such a network, statistics included.
std::map<std::string, std::vector<std::int64_t>> named_shapes(const Network& network) {
    std::map<std::string, std::vector<std::int64_t>> shapes;
    for (const Parameter& parameter : network.parameters()) shapes[parameter.name] = parameter.shape;
    for (const std::string& norm : network.statistics())
        for (const char* statistic : {".running_mean", ".running_var"})
            shapes[norm + statistic] = shapes.at(norm + ".weight");
    return shapes;
}

// The last layer's weight: its rows are the classes.
const char* classifier_of(Head head) {
    return head == Head::fastai ? "head.fc2.weight" : "fc.weight";
}

bool is_of_head(const std::string& name) {
    return name.starts_with("fc.") || name.starts_with("head.");
}

// Part of what all such networks have between the pixels and the head.
bool is_of_body(const std::string& name) {
    for (const char* part : {"conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4."})
        if (name.starts_with(part)) return true;
    return false;
}

// Why these are the tensors of no network that we know.
std::string unlike(const TensorFile& file) {
    std::vector<std::string> names;
    for (const auto& [name, index] : file.names()) {
        if (name.ends_with("layer1.0.conv1.weight") &&
            file.find(name.substr(0, name.size() - 21) + "conv1.0.weight"))
            return "its stem is that of the ResNet-D variants (three convolutions), which are not built in";
        names.push_back(name);
    }
    return "its tensors are not those of a torchvision ResNet: it has " +
           (names.empty() ? "none" : first_names(names));
}

std::string arch_of(const TensorFile& file) {
    const auto has = [&](const char* name) { return file.find(name) != nullptr; };
    if (!has("conv1.weight") || !has("layer1.0.conv1.weight"))
        refuse(file, unlike(file), "give a resnet18, resnet34 or resnet50");
    if (has("layer1.0.conv3.weight")) return "resnet50";
    return has("layer1.2.conv1.weight") ? "resnet34" : "resnet18";
}

// Of what the file must have.
std::map<std::string, std::vector<std::int64_t>> shapes_of(const ModelInfo& info) {
    auto shapes = named_shapes(network_of(info, info.stem == Stem::small ? 32 : 224));
    if (info.backbone()) std::erase_if(shapes, [](const auto& entry) { return is_of_head(entry.first); });
    return shapes;
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
            !file.tensors()[index].shape.empty() && (!info.backbone() || is_of_body(name)) &&
            !(info.trained_here() && is_training_state(name)))
            extra.push_back(name);
    const std::string fix = "give a torchvision resnet18, resnet34 or resnet50";
    std::vector<std::string> faults;
    if (!missing.empty()) faults.push_back("lacks " + first_names(missing));
    if (!other_shape.empty()) faults.push_back("has other shapes: " + first_names(other_shape));
    if (!extra.empty()) faults.push_back("also holds " + first_names(extra));
    if (!faults.empty())
        refuse(file, fmt::format("it looks like {} but {}", info.arch, fmt::join(faults, "; it ")), fix);
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

// Reads into `values`.
void read_checked(const TensorFile& file, const std::string& name, const std::vector<std::int64_t>& shape,
                  std::vector<float>& values) {
    const TensorInfo* tensor = file.find(name);
    if (!tensor) refuse(file, "it lacks " + name, "give a complete file");
    if (tensor->shape != shape)
        refuse(file, fmt::format("{} is {}, not {}", name, shape_text(tensor->shape), shape_text(shape)),
               "give a file of the same architecture");
    file.read_floats(name, values);
    for (float value : values)
        if (!std::isfinite(value))
            refuse(file, name + " holds a value that is not finite",
                   "give another checkpoint: the training that wrote it diverged");
    if (name.ends_with(".running_var") && std::ranges::any_of(values, [](float v) { return v < 0; }))
        refuse(file, name + " holds a negative variance", "use another copy of the file");
}

HostTensor read_tensor(const TensorFile& file, const std::string& name,
                       const std::vector<std::int64_t>& shape) {
    HostTensor read{shape, {}};
    read_checked(file, name, shape, read.values);
    return read;
}

// Size, crop, mean and deviation, where the file has its own.
void read_conventions(const TensorFile& file, ModelInfo& info) {
    const auto require = [&](bool good, const char* key) {
        if (!good)
            refuse(file, fmt::format("its {} is out of range: {}", key, printable(info.metadata.at(key))),
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
}

}  // namespace

bool is_training_state(const std::string& name) {
    if (name == images_tensor) return true;
    for (const char* prefix : {"momentum.", "first_moment.", "second_moment.", training_prefix})
        if (name.rfind(prefix, 0) == 0) return true;
    return false;
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

ModelInfo describe_model(const TensorFile& file) {
    ModelInfo info{.path = file.path(), .weights = file.weights(), .metadata = file.metadata()};
    if (!info.weights.problem.empty()) refuse(file, info.weights.problem, info.weights.fix);
    info.arch = arch_of(file);
    const TensorInfo& conv1 = *file.find("conv1.weight");
    info.head = file.find(classifier_of(Head::fastai)) && !file.find(classifier_of(Head::linear))
                    ? Head::fastai
                    : Head::linear;
    const char* const classifier = classifier_of(info.head);
    const TensorInfo* const fc = file.find(classifier);
    if (conv1.shape.size() != 4 ||
        (fc && (fc->shape.size() != 2 || fc->shape[0] < 1 || fc->shape[0] > 1'000'000)))
        refuse(file, fmt::format("conv1.weight or {} has a shape that no ResNet has", classifier),
               "give another file");
    info.stem = conv1.shape[2] == 3 ? Stem::small : Stem::imagenet;
    info.class_count = fc ? static_cast<int>(fc->shape[0]) : 0;
    check_tensors(file, info);
    file.verify_name();  // after what is known at once

    if (const auto format = info.metadata.find(format_key);
        format != info.metadata.end() && format->second != format_version)
        refuse(file, "it was written by another version (format " + printable(format->second) + ")",
               "use that version, or a newer one");
    if (const auto classes = info.metadata.find("classes"); classes != info.metadata.end())
        info.classes = from_json_list(classes->second);
    if (info.trained_here() && info.classes.empty())
        refuse(file, "its list of classes is not readable", "give a file that was not changed");
    if (!info.classes.empty() && info.classes.size() != static_cast<std::size_t>(info.class_count))
        refuse(file,
               fmt::format("it names {} classes but its head has {}", info.classes.size(), info.class_count),
               "give a file that was not changed");
    const std::set<std::string> different(info.classes.begin(), info.classes.end());
    if (different.size() != info.classes.size())
        refuse(file, "it names a class twice", "give a file that was not changed");
    info.named = !info.classes.empty();
    if (!info.named)
        for (int i = 0; i < info.class_count; ++i) info.classes.push_back(std::to_string(i));

    read_conventions(file, info);
    return info;
}

std::unique_ptr<TensorFile> open_model(const std::string& model, bool init_ema) {
    return open_tensor_file(resolve_model(model), posix_file_system(), init_ema);
}

ModelInfo read_model_info(const std::string& model, bool init_ema) {
    return describe_model(*open_model(model, init_ema));
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
    std::string text = fmt::format("'{}' was taken", printable(w.taken));
    if (!w.others.empty())
        text += fmt::format("; '{}' {} too ({})", fmt::join(w.others, "', '"),
                            w.others.size() == 1 ? "fits" : "fit",
                            w.average ? "without --init-ema weights go before their average"
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
    RecordedSplit split{.valid_fraction = number_from(info.metadata, "split_fraction", 0.2)};
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
                       .precision = options.precision});
    return info;
}

Network network_of(const ModelInfo& info, int size) {
    return resnet({.arch = info.arch,
                   .classes = std::max(info.class_count, 1),
                   .size = size,
                   .stem = info.stem,
                   .head = info.head});
}

std::map<std::string, HostTensor> read_weights(const TensorFile& file, const Network& network,
                                               const std::string& prefix) {
    std::map<std::string, HostTensor> weights;
    for (const auto& [name, shape] : named_shapes(network))
        weights[name] = read_tensor(file, prefix + name, shape);
    return weights;
}

void load_weights(State& state, const TensorFile& file) {
    std::vector<float> values;
    state.load_weights([&](const std::string& name, const std::vector<std::int64_t>& shape) {
        read_checked(file, name, shape, values);
        return std::span<const float>(values);
    });
}

std::map<std::string, HostTensor> read_tensors(const TensorFile& file,
                                               const std::map<std::string, HostTensor>& like,
                                               const std::string& prefix) {
    std::map<std::string, HostTensor> tensors;
    for (const auto& [name, tensor] : like) tensors[name] = read_tensor(file, prefix + name, tensor.shape);
    return tensors;
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

namespace {

// Makes the head that was read one of the kind `head` for `classes`: as it is, with its last rows
// in their order, or none, to be made new. Returns what was done, to be said after the file's name.
std::string place_head(std::map<std::string, HostTensor>& weights, const ModelInfo& info, Head head,
                       const std::vector<std::string>& classes, const LogSink& log) {
    const auto replaced = [&](const std::string& why) {
        std::erase_if(weights, [](const auto& entry) { return is_of_head(entry.first); });
        return fmt::format("; its {} head of {} classes was replaced by a new {} one of {}{}",
                           to_string(info.head), info.class_count, to_string(head), classes.size(), why);
    };
    if (info.backbone())
        return fmt::format("; it has no head: a new {} one of {} classes was made", to_string(head),
                           classes.size());
    if (info.head != head) return replaced("");
    if (!info.named) {
        if (static_cast<std::size_t>(info.class_count) != classes.size()) return replaced("");
        say_assumed_order(info, classes, log);
        return "";
    }
    if (info.classes == classes) return "";
    const ClassDifference difference = compare_classes(info.classes, classes);
    if (!difference.same()) return replaced(": " + difference.text("the folder"));
    const std::string weight = classifier_of(head);
    for (const std::string& name : {weight, weight.substr(0, weight.rfind('.')) + ".bias"}) {
        const auto found = weights.find(name);
        if (found == weights.end()) continue;  // fastai's last layer has no bias
        std::vector<float>& values = found->second.values;
        const std::vector<float> stored = values;
        const std::size_t row = stored.size() / classes.size();
        for (std::size_t c = 0; c < classes.size(); ++c)
            std::copy_n(&stored[row * static_cast<std::size_t>(difference.matched[c])], row,
                        &values[row * c]);
    }
    return "; its classes stand in another order: the head's rows were matched by name";
}

}  // namespace

void load_initial_weights(State& state, const TrainOptions& options, const std::vector<std::string>& classes,
                          const LogSink& log) {
    const auto opened = open_model(options.init, options.init_ema);
    const TensorFile& file = *opened;
    file.verify();
    ModelInfo info = describe_model(file);
    if (!options.classes.empty()) info = with_class_names(std::move(info), options.classes);
    if (info.arch != options.arch || info.stem != options.stem)
        refuse(file,
               fmt::format("it is a {} with the {} stem; asked for is {} with {}", info.arch,
                           to_string(info.stem), options.arch, to_string(options.stem)),
               fmt::format("use --arch {} --stem {}", info.arch, to_string(info.stem)));
    std::map<std::string, HostTensor> weights;
    for (const auto& [name, shape] : shapes_of(info)) weights[name] = read_tensor(file, name, shape);
    const std::string head = place_head(weights, info, options.head, classes, log);
    state.set_weights(weights);
    if (!log) return;
    log(LogLevel::info, fmt::format("weights from {}{}", printable(info.path), head));
    if (!info.weights.taken.empty()) log(LogLevel::info, "of what it holds " + taken_text(info));
}

ModelTensors::ModelTensors(const State& state, const StateCopy& copy, bool whole)
    : copy_(&copy),
      tensors_(state.weight_tensors(state.has_average())),
      norms_(state.network().statistics()) {
    if (whole) {
        const auto add = [&](std::vector<StateTensor> list, const std::string& prefix) {
            for (StateTensor& tensor : list) {
                tensor.name = prefix + tensor.name;
                tensors_.push_back(std::move(tensor));
            }
        };
        add(state.moment_tensors(), "");
        if (state.has_average()) add(state.weight_tensors(), training_prefix);
    }
    std::sort(tensors_.begin(), tensors_.end(),
              [](const StateTensor& a, const StateTensor& b) { return a.name < b.name; });
}

std::vector<TensorSource> ModelTensors::sources(std::int64_t batches) {
    batches_ = batches;
    std::vector<TensorSource> sources;
    for (const StateTensor& tensor : tensors_)
        sources.push_back({tensor.name, StoredType::f32, tensor.shape, [this, &tensor] {
                               plain_.resize(static_cast<std::size_t>(tensor.desc.elements()));
                               to_plain(tensor.desc, copy_->stored(tensor).data(), plain_.data());
                               return std::as_bytes(std::span(std::as_const(plain_)));
                           }});
    for (const std::string& norm : norms_)
        sources.push_back({norm + ".num_batches_tracked", StoredType::i64, {}, [this] {
                               return std::as_bytes(std::span(&std::as_const(batches_), 1));
                           }});
    return sources;
}

std::string ModelTensors::not_finite() const {
    for (const StateTensor& tensor : tensors_)
        for (float value : copy_->stored(tensor))
            if (!std::isfinite(value)) return tensor.name;
    return "";
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
