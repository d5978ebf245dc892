#include "nn/state.h"

#include <atomic>
#include <cmath>
#include <set>
#include <span>

#include "core/digest.h"
#include "onecycle/error.h"
#include "rules/half.h"
#include "rules/optimizer_rules.h"
#include "rules/rng.h"
#include "rules/sum_order.h"

namespace onecycle {

namespace {

// Weights of matrix products: kept in 16 bits, too, where programs compute so.
bool multiplies(ParameterRole role) {
    return role == ParameterRole::conv_weight || role == ParameterRole::linear_weight;
}

TensorDesc plain_desc(const std::vector<std::int64_t>& shape) {
    TensorDesc desc;
    desc.rank = static_cast<int>(shape.size());
    for (std::size_t i = 0; i < shape.size(); ++i) desc.dims[i] = shape[i];
    return desc;
}

std::size_t float_bytes(std::int64_t elements) {
    return static_cast<std::size_t>(elements) * sizeof(float);
}

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
    throw Error(ErrorKind::model, "the weights do not fit the network", name, why,
                "use a file of the same architecture");
}

// Standard normals in pairs by Box-Muller: half the draws of one at a time.
void fill_normal(RandomStream stream, double deviation, std::vector<float>& values) {
    constexpr double two_pi = 6.283185307179586;
    for (std::size_t i = 0; i < values.size(); i += 2) {
        const double radius = deviation * std::sqrt(-2.0 * std::log(1.0 - stream.uniform()));
        const double angle = two_pi * stream.uniform();
        values[i] = static_cast<float>(radius * std::cos(angle));
        if (i + 1 < values.size()) values[i + 1] = static_cast<float>(radius * std::sin(angle));
    }
}

std::vector<float> initial_values(const Parameter& parameter, const TensorDesc& desc, std::uint64_t seed,
                                  std::uint64_t index) {
    std::vector<float> values(static_cast<std::size_t>(desc.elements()), 0.0f);
    const RandomStream stream(seed, RandomPurpose::initial_weights, 0, index);
    switch (parameter.role) {
        case ParameterRole::conv_weight:
            // Kaiming normal, fan-out, for ReLU: variance 2 / (O * kh * kw).
            fill_normal(stream, std::sqrt(2.0 / static_cast<double>(desc[0] * desc[2] * desc[3])), values);
            break;
        case ParameterRole::norm_weight:
            std::fill(values.begin(), values.end(), parameter.initial == Initial::zero ? 0.0f : 1.0f);
            break;
        case ParameterRole::linear_weight:
        case ParameterRole::linear_bias: {
            if (parameter.initial == Initial::small_normal) {
                if (desc.rank == 2) fill_normal(stream, 0.01, values);
                break;
            }
            if (parameter.initial == Initial::fastai) {
                // Kaiming normal, fan-in, for ReLU: variance 2 / K.
                fill_normal(stream, std::sqrt(2.0 / static_cast<double>(desc[1])), values);
                break;
            }
            // torch.nn.Linear: uniform within 1/sqrt(inputs), for weight and bias. The bias has the
            // classifier's outputs as its shape, so its bound is set by the caller (see
            // initialise).
            RandomStream draws = stream;
            const double bound = 1.0 / std::sqrt(static_cast<double>(desc.rank == 2 ? desc[1] : 1));
            for (float& value : values) value = static_cast<float>(draws.uniform(-bound, bound));
            break;
        }
        case ParameterRole::norm_bias:
            if (parameter.initial == Initial::fastai) std::fill(values.begin(), values.end(), 1e-3f);
            break;
        case ParameterRole::conv_bias:
            break;
    }
    return values;
}

}  // namespace

const char* name_of(Space space) {
    static constexpr const char* names[] = {
        "arena",           "parameters",       "gradients",      "gradient_sum",     "gradient_total",
        "half_parameters", "half_gradients",   "half_average",   "moment1",          "moment2",
        "statistics",      "batch_statistics", "statistics_sum", "statistics_total", "average",
        "control",         "progress",         "input",          "constant",         "counts"};
    static_assert(std::size(names) == space_count);
    return names[static_cast<std::size_t>(space)];
}

StateLayout::StateLayout(const Network& network, const Backend& backend, bool decay_norm_and_bias,
                         DType compute_)
    : compute(compute_) {
    const bool half = compute != DType::f32;
    const auto& all = network.parameters();
    parameters.resize(all.size());
    parameter_desc.resize(all.size());
    for (std::size_t i = all.size(); i-- > 0;) {  // backward order: the last layer's gradient is ready first
        TensorDesc desc = plain_desc(all[i].shape);
        if (half && multiplies(all[i].role)) desc.type = compute;
        desc.layout = backend.parameter_layout(desc);
        desc.type = DType::f32;
        parameters[i] = {.offset = parameter_elements,
                         .elements = desc.stored_elements(),
                         .decay_multiplier = multiplies(all[i].role) || decay_norm_and_bias ? 1.0f : 0.0f,
                         .half = half && multiplies(all[i].role),
                         .half_gradient = half && all[i].role == ParameterRole::conv_weight};
        parameter_desc[i] = desc;
        parameter_elements += padded_to_segment(desc.stored_elements());
    }
    for (const Layer& layer : network.layers()) {
        if (layer.kind != LayerKind::batch_norm) continue;
        statistics.push_back({.offset = statistics_elements, .channels = layer.shape[0]});
        statistics_elements += 2 * layer.shape[0];
        batch_statistics.push_back(batch_statistics_elements);
        batch_statistics_elements += 2 * padded_to_segment(layer.shape[0]);
    }
}

State::State(Device& device, const Network& network, StateLayout layout)
    : device_(&device),
      network_(&network),
      layout_(std::move(layout)),
      memory_(space_count),
      progress_(device, sizeof(StepProgress)) {
    const std::size_t flat = float_bytes(layout_.parameter_elements);
    allocate(Space::parameters, flat);
    if (layout_.compute != DType::f32) allocate(Space::half_parameters, flat / 2);
    allocate(Space::statistics, float_bytes(layout_.statistics_elements));
    allocate(Space::control, sizeof(StepControl));
}

State::State(Device& device, const Network& network, StateLayout layout, const OptimizerOptions& optimizer,
             const RankPlace& place)
    : State(device, network, std::move(layout)) {
    optimizer_ = optimizer.kind;
    rank_ = place.rank;
    ranks_ = place.ranks;
    const std::size_t flat = bytes(Space::parameters), statistics = bytes(Space::statistics);
    allocate(Space::gradients, flat);
    allocate(Space::moment1, flat);
    if (has_second_moment(optimizer.kind)) allocate(Space::moment2, flat);
    const bool crosses = groups_cross_passes(optimizer.accumulate, ranks_);
    if (optimizer.accumulate > 1) allocate(Space::gradient_sum, flat);
    if (crosses) allocate(Space::gradient_total, flat);
    if (optimizer.ema_decay > 0) allocate(Space::ema, flat + statistics);
    const std::size_t batch_statistics = float_bytes(layout_.batch_statistics_elements);
    if (optimizer.accumulate * ranks_ > 1) allocate(Space::batch_statistics, batch_statistics);
    if (optimizer.accumulate > 1) allocate(Space::statistics_sum, batch_statistics);
    if (crosses) allocate(Space::statistics_total, batch_statistics);
    if (layout_.compute == DType::f32) return;
    allocate(Space::half_gradients, flat / 2);
    if (optimizer.ema_decay > 0) allocate(Space::half_ema, flat / 2);
}

void State::allocate(Space space, std::size_t bytes) {
    memory_[static_cast<std::size_t>(space)] = DeviceMemory(*device_, bytes);
}

StepControl State::read_control() const {
    StepControl control;
    device_->copy_out(&control, base(Space::control), sizeof control);
    return control;
}

void State::write_control(const StepControl& control) {
    device_->synchronize();
    device_->copy_in(base(Space::control), &control, sizeof control);
    set_progress(control);
}

void State::set_progress(const StepControl& control) {
    progress().launches = control.launches;
    progress().update = control.update;
    progress().stop = control.stop;
    progress().first_bad = control.first_bad;
    progress().stopped_at = control.stopped_at;
    progress().asked = control.asked;
}

void State::want_stop(std::int32_t wanted) {
    std::atomic_ref(progress().stop_wanted).store(wanted, std::memory_order_release);
}

ProgressSeen State::read_progress() const {
    // The reverse of the order in which commit_step writes.
    StepProgress& p = progress();
    ProgressSeen seen{};
    seen.launches = std::atomic_ref(p.launches).load(std::memory_order_acquire);
    seen.update = std::atomic_ref(p.update).load(std::memory_order_acquire);
    seen.stop = std::atomic_ref(p.stop).load(std::memory_order_acquire);
    seen.first_bad = p.first_bad;
    seen.stopped_at = p.stopped_at;
    seen.asked = p.asked;
    return seen;
}

namespace {

// A flat buffer of floats on the host: one copy for all its tensors.
class HostFlat {
  public:
    HostFlat(const State& state, Space space)
        : device_(&state.device()), values_(state.bytes(space) / sizeof(float)) {
        device_->copy_out(values_.data(), state.base(space), state.bytes(space));
    }

    // One tensor in plain order.
    std::vector<float> read(std::int64_t offset, const TensorDesc& desc) const {
        std::vector<float> plain(static_cast<std::size_t>(desc.elements()));
        to_plain(desc, values_.data() + offset, plain.data());
        return plain;
    }
    void write(std::int64_t offset, const TensorDesc& desc, const std::vector<float>& plain) {
        to_layout(desc, plain.data(), values_.data() + offset);
    }
    void copy_in(std::byte* to) const {
        device_->copy_in(to, values_.data(), values_.size() * sizeof(float));
    }

  private:
    Device* device_;
    std::vector<float> values_;
};

}  // namespace

void State::initialise(std::uint64_t seed) {
    const auto& all = network_->parameters();
    HostFlat parameters(*this, Space::parameters);
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::vector<float> values = initial_values(all[i], layout_.parameter_desc[i], seed, i);
        if (all[i].role == ParameterRole::linear_bias) {
            // The bias follows its weight, whose second dimension is the number of inputs.
            const float bound =
                static_cast<float>(1.0 / std::sqrt(static_cast<double>(layout_.parameter_desc[i - 1][1])));
            for (float& value : values) value *= bound;
        }
        parameters.write(layout_.parameters[i].offset, layout_.parameter_desc[i], values);
    }
    parameters.copy_in(base(Space::parameters));
    std::vector<float> statistics(static_cast<std::size_t>(layout_.statistics_elements), 0.0f);
    for (const StatisticsSegment& s : layout_.statistics)
        std::fill_n(statistics.begin() + s.offset + s.channels, s.channels, 1.0f);
    device_->copy_in(base(Space::statistics), statistics.data(), bytes(Space::statistics));

    const std::vector<std::byte> zeros(bytes(Space::parameters));
    for (Space space : {Space::moment1, Space::moment2})
        if (bytes(space)) device_->copy_in(base(space), zeros.data(), bytes(space));
    make_half_copies(Space::parameters, Space::half_parameters);
    if (has_ema()) reset_ema();
}

void State::make_half_copies(Space from, Space to) {
    if (!bytes(to)) return;
    std::vector<float> flat(static_cast<std::size_t>(layout_.parameter_elements));
    device_->copy_out(flat.data(), base(from), float_bytes(layout_.parameter_elements));
    std::vector<std::uint16_t> half(flat.size());
    for (std::size_t i = 0; i < flat.size(); ++i)
        half[i] =
            layout_.compute == DType::bf16 ? from_float<bf16>(flat[i]).bits : from_float<f16>(flat[i]).bits;
    device_->copy_in(base(to), half.data(), bytes(to));
}

void State::reset_ema() {
    device_->copy(base(Space::ema), base(Space::parameters), bytes(Space::parameters));
    device_->copy(base(Space::ema) + bytes(Space::parameters), base(Space::statistics),
                  bytes(Space::statistics));
    make_half_copies(Space::ema, Space::half_ema);
}

std::vector<StateTensor> State::weight_tensors(bool ema) const {
    const Space flat = ema ? Space::ema : Space::parameters;
    const Space running = ema ? Space::ema : Space::statistics;
    const std::int64_t split = ema ? layout_.parameter_elements : 0;
    std::vector<StateTensor> list;
    for (std::size_t i = 0; i < layout_.parameters.size(); ++i) {
        const Parameter& parameter = network_->parameters()[i];
        list.push_back(
            {parameter.name, parameter.shape, layout_.parameter_desc[i], flat, layout_.parameters[i].offset});
    }
    for (std::size_t i = 0; i < layout_.statistics.size(); ++i) {
        const StatisticsSegment& s = layout_.statistics[i];
        const std::string& name = network_->statistics()[i];
        const TensorDesc desc{s.channels};
        list.push_back({name + ".running_mean", {s.channels}, desc, running, split + s.offset});
        list.push_back({name + ".running_var", {s.channels}, desc, running, split + s.offset + s.channels});
    }
    return list;
}

std::vector<StateTensor> State::moment_tensors() const {
    std::vector<StateTensor> list;
    const auto add = [&](const std::string& prefix, Space space) {
        if (!bytes(space)) return;
        for (std::size_t i = 0; i < layout_.parameters.size(); ++i) {
            const Parameter& parameter = network_->parameters()[i];
            list.push_back({prefix + parameter.name, parameter.shape, layout_.parameter_desc[i], space,
                            layout_.parameters[i].offset});
        }
    };
    add(has_second_moment(optimizer_) ? "first_moment." : "momentum.", Space::moment1);
    add("second_moment.", Space::moment2);
    return list;
}

std::map<std::string, HostTensor> State::read(const std::vector<StateTensor>& list) const {
    std::map<Space, HostFlat> flats;
    std::map<std::string, HostTensor> tensors;
    for (const StateTensor& t : list) {
        const HostFlat& flat = flats.try_emplace(t.space, *this, t.space).first->second;
        tensors[t.name] = {t.shape, flat.read(t.offset, t.desc)};
    }
    return tensors;
}

void State::write(const std::vector<StateTensor>& list, const std::map<std::string, HostTensor>& tensors) {
    std::map<Space, HostFlat> flats;
    std::set<std::string> taken;
    for (const StateTensor& t : list) {
        const auto found = tensors.find(t.name);
        if (found == tensors.end()) continue;
        const TensorDesc given = plain_desc(found->second.shape);
        if (!given.same_shape(t.desc))
            refuse(t.name, "its shape is " + to_string(given) + ", " + to_string(t.desc) + " is needed");
        flats.try_emplace(t.space, *this, t.space)
            .first->second.write(t.offset, t.desc, found->second.values);
        taken.insert(t.name);
    }
    for (const auto& [name, tensor] : tensors)
        if (!taken.count(name)) refuse(name, "the network has no such tensor");
    for (const auto& [space, flat] : flats) flat.copy_in(base(space));
}

void State::load_weights(const WeightSource& read) {
    std::vector<float> stored;
    for (const StateTensor& t : weight_tensors()) {
        const std::span<const float> plain = read(t.name, t.shape);
        if (plain.size() != static_cast<std::size_t>(t.desc.elements())) refuse(t.name, "its size differs");
        stored.resize(static_cast<std::size_t>(t.desc.stored_elements()));
        to_layout(t.desc, plain.data(), stored.data());
        device_->copy_in(base(t.space) + float_bytes(t.offset), stored.data(), stored.size() * sizeof(float));
    }
    make_half_copies(Space::parameters, Space::half_parameters);
}

std::map<std::string, HostTensor> State::weights(bool ema) const {
    return read(weight_tensors(ema));
}

void State::set_weights(const std::map<std::string, HostTensor>& tensors, bool ema) {
    write(weight_tensors(ema), tensors);
    if (ema)
        make_half_copies(Space::ema, Space::half_ema);
    else
        make_half_copies(Space::parameters, Space::half_parameters);
}

std::map<std::string, HostTensor> State::moments() const {
    return read(moment_tensors());
}

void State::set_moments(const std::map<std::string, HostTensor>& tensors) {
    write(moment_tensors(), tensors);
}

std::string State::digest() const {
    Digest digest;
    const auto add = [&](const std::map<std::string, HostTensor>& tensors) {
        for (const auto& [name, tensor] : tensors) {
            digest.update(std::as_bytes(std::span(name)));
            digest.update(std::as_bytes(std::span(tensor.values)));
        }
    };
    add(weights());
    add(moments());
    if (has_ema()) add(weights(true));
    const std::int64_t update = read_control().update;
    digest.update(std::as_bytes(std::span(&update, 1)));
    return digest.hex();
}

namespace {

// Everything but the gradients, which mean nothing between steps.
constexpr Space kept_spaces[] = {Space::parameters, Space::half_parameters, Space::gradient_sum,
                                 Space::moment1,    Space::moment2,         Space::statistics,
                                 Space::ema,        Space::half_ema,        Space::control};

}  // namespace

void State::broadcast(Communicator& ranks) {
    std::vector<std::byte> bytes_of_space;
    for (Space space : kept_spaces) {
        if (space == Space::gradient_sum || space == Space::control || !bytes(space)) continue;
        bytes_of_space.resize(bytes(space));
        device_->copy_out(bytes_of_space.data(), base(space), bytes_of_space.size());
        ranks.broadcast(bytes_of_space);
        device_->copy_in(base(space), bytes_of_space.data(), bytes_of_space.size());
    }
    device_->synchronize();
}

State::Snapshot State::snapshot() const {
    Snapshot snapshot;
    for (Space space : kept_spaces) {
        snapshot.memory.emplace_back(*device_, bytes(space));
        if (bytes(space)) device_->copy(snapshot.memory.back().data(), base(space), bytes(space));
    }
    return snapshot;
}

void State::restore(const Snapshot& snapshot) {
    std::size_t i = 0;
    for (Space space : kept_spaces) {
        if (bytes(space)) device_->copy(base(space), snapshot.memory[i].data(), bytes(space));
        ++i;
    }
    set_progress(read_control());
}

}  // namespace onecycle
