#include "train/model_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "onecycle/error.h"
#include "train/recorded_images.h"

namespace onecycle {

[[noreturn]] void refuse_file(const TensorFile& file, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::model, "cannot use model", file.path(), why, fix);
}

bool is_training_state(const std::string& name) {
    if (name == images_tensor) return true;
    for (const char* prefix : {"momentum.", "first_moment.", "second_moment.", training_prefix})
        if (name.rfind(prefix, 0) == 0) return true;
    return false;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
    return fmt::format("[{}]", fmt::join(shape, ","));
}

NamedShapes named_shapes(const Network& network) {
    NamedShapes shapes;
    for (const Parameter& parameter : network.parameters()) shapes[parameter.name] = parameter.shape;
    for (const std::string& norm : network.statistics())
        for (const char* statistic : {".running_mean", ".running_var"})
            shapes[norm + statistic] = shapes.at(norm + ".weight");
    return shapes;
}

std::vector<std::string> head_names(const Network& network) {
    std::vector<std::string> names;
    for (const Layer& layer : network.layers()) {
        if (network.head_part() > 0 ? layer.part != network.head_part() : &layer != &network.layers().back())
            continue;
        for (const int p : layer.parameters)
            names.push_back(network.parameters()[static_cast<std::size_t>(p)].name);
        if (layer.statistics >= 0)
            for (const char* statistic : {".running_mean", ".running_var"})
                names.push_back(layer.name + statistic);
    }
    return names;
}

void read_checked(const TensorFile& file, const std::string& name, const std::vector<std::int64_t>& shape,
                  std::vector<float>& values) {
    const TensorInfo* tensor = file.find(name);
    if (!tensor) refuse_file(file, "it lacks " + name, "give a complete file");
    if (tensor->shape != shape)
        refuse_file(file, fmt::format("{} is {}, not {}", name, shape_text(tensor->shape), shape_text(shape)),
                    "give a file of the same architecture");
    file.read_floats(name, values);
    for (float value : values)
        if (!std::isfinite(value))
            refuse_file(file, name + " holds a value that is not finite",
                        "give another checkpoint: the training that wrote it diverged");
    if (name.ends_with(".running_var") && std::ranges::any_of(values, [](float v) { return v < 0; }))
        refuse_file(file, name + " holds a negative variance", "use another copy of the file");
}

HostTensor read_tensor(const TensorFile& file, const std::string& name,
                       const std::vector<std::int64_t>& shape) {
    HostTensor read{shape, {}};
    read_checked(file, name, shape, read.values);
    return read;
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

ModelTensors::ModelTensors(const State& state, const StateCopy& copy, bool whole)
    : copy_(&copy), tensors_(state.weight_tensors(state.has_ema())), norms_(state.network().statistics()) {
    if (whole) {
        const auto add = [&](std::vector<StateTensor> list, const std::string& prefix) {
            for (StateTensor& tensor : list) {
                tensor.name = prefix + tensor.name;
                tensors_.push_back(std::move(tensor));
            }
        };
        add(state.moment_tensors(), "");
        if (state.has_ema()) add(state.weight_tensors(), training_prefix);
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

}  // namespace onecycle
