#include "train/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "nn/program.h"
#include "onecycle/error.h"
#include "ops/exchanges.h"
#include "rules/rng.h"
#include "train/access_counts.h"
#include "train/stages.h"
#include "train/train_step.h"

namespace onecycle {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

std::string image_shape(const TensorDesc& t) {
    std::string text;
    for (int i = 1; i < t.rank; ++i) text += (i > 1 ? "x" : "") + std::to_string(t[i]);
    return text;
}

// What one image looks like to the step, or how long its flat buffers are.
std::string shape_of(const OpDesc& desc) {
    const auto from_to = [](const TensorDesc& x, const TensorDesc& y) {
        return image_shape(x) + " -> " + image_shape(y);
    };
    const auto window = [&] { return fmt::format(", {0}x{0}/{1}", desc.kernel, desc.stride); };
    switch (desc.kind) {
        case OpKind::conv2d:
            return from_to(desc.inputs[0], desc.outputs[0]) + window();
        case OpKind::conv2d_backward_data:
            return from_to(desc.inputs[0], desc.outputs[0]) + window() + (desc.accumulate ? ", added" : "");
        case OpKind::conv2d_backward_weights:
            return from_to(desc.inputs[1], desc.inputs[0]) + window();
        case OpKind::add_channel_bias:
        case OpKind::channel_bias_gradient:
        case OpKind::batch_norm_statistics:
            return image_shape(desc.inputs[0]);
        case OpKind::batch_norm_max_pool:
            return from_to(desc.inputs[0], desc.outputs[0]);
        case OpKind::batch_norm_backward:
        case OpKind::batch_norm_gradients:
        case OpKind::batch_norm_input_gradient:
        case OpKind::batch_norm_pair_backward:
            return image_shape(desc.inputs[1]) + (desc.residual ? ", residual" : "");
        case OpKind::batch_norm_max_pool_backward:
            return from_to(desc.inputs[0], desc.outputs[0]);
        case OpKind::accumulate_gradients:
        case OpKind::all_reduce:
        case OpKind::check_gradients:
        case OpKind::trust_ratio:
        case OpKind::update_parameters:
            return fmt::format("{:.1f} M parameters{}", static_cast<double>(desc.inputs[0].elements()) / 1e6,
                               desc.two_levels ? ", two levels" : "");
        case OpKind::update_statistics:
        case OpKind::commit_step:
        case OpKind::add_metrics:
        case OpKind::gather_results:
        case OpKind::combine_statistics:
        case OpKind::average_gradients:
            return "";
        case OpKind::softmax_cross_entropy:
            return image_shape(desc.inputs[0]);
        default:
            break;
    }
    const TensorDesc &x = desc.inputs[0], &y = desc.outputs[0];
    return (x.same_shape(y) ? image_shape(x) : from_to(x, y)) + (desc.residual ? ", residual" : "");
}

std::vector<ProfiledStep::Messages> messages_of(const OpDesc& desc) {
    std::vector<ProfiledStep::Messages> all;
    for (const Partition& exchange : exchanges_of(desc))
        all.push_back({exchange.members.count, exchange.members.stride, mean_share(exchange)});
    return all;
}

Program compile_step(const ProfileOptions& options, const Network& network, const StateLayout& layout,
                     const Backend& backend) {
    ProgramKey key;
    key.batch = options.train.batch_size;
    key.ranks = options.ranks;
    key.two_levels = options.two_levels;
    key.optimizer = optimizer_options(options.train);
    key.label_smoothing = static_cast<float>(options.train.label_smoothing);
    key.mixup = options.train.mixup;
    key.cutmix = options.train.cutmix;
    key.frozen = {frozen_parts(network, options.train.freeze), options.train.freeze_bn};
    return compile(network, layout, backend, key);
}

Network network_of(const ProfileOptions& options) {
    return architecture(options.train.arch)
        .make(network_options(options.train, options.classes, options.train.size));
}

void describe(Profile& profile, const Program& program) {
    profile.arena_bytes = program.arena_bytes;
    for (const ProgramOp& step : program.ops) {
        std::vector<ProfiledStep::Messages> exchanges = messages_of(step.desc);
        profile.steps.push_back(
            {.name = step.name,
             .operation = name_of(step.desc.kind),
             .implementation = step.implementation,
             .phase = name_of(step.phase),
             .shape = shape_of(step.desc),
             .branch = step.branch,
             .waits = step.waits,
             .flops = step.flops,
             .bytes = step.bytes,
             .limit = profile.limits.seconds(step.flops, step.bytes),
             .seconds = {},
             .exchanged = exchanges.empty() ? 0.0 : static_cast<double>(step.desc.outputs[0].bytes()),
             .exchanges = std::move(exchanges)});
    }
}

// Numbers in (-1, 1) of the type: zeros would run faster than real ones.
std::vector<std::byte> random_numbers(DType type, std::size_t bytes) {
    std::vector<std::byte> numbers(bytes);
    RandomStream random(1, RandomPurpose::demo_data, 0, 0);
    const std::size_t size = size_of(type);
    for (std::size_t at = 0; at + size <= bytes; at += size) {
        // Sign and fraction are random, the exponent is that of 0.5 to 1.
        const std::uint32_t bits = random.below(0xFFFFFFFF);
        const std::uint32_t word = type == DType::f32    ? 0x3F000000u | (bits & 0x807FFFFFu)
                                   : type == DType::bf16 ? 0x3F00u | (bits & 0x807Fu)
                                                         : 0x3800u | (bits & 0x83FFu);
        std::copy_n(reinterpret_cast<const std::byte*>(&word), size, &numbers[at]);
    }
    return numbers;
}

void fill(Device& device, const DeviceMemory& memory, const std::vector<std::byte>& numbers) {
    for (std::size_t at = 0; at < memory.size(); at += numbers.size())
        device.copy_in(memory.data() + at, numbers.data(), std::min(numbers.size(), memory.size() - at));
}

// A large copy and a large matrix product of the type, by the device's own means.
Limits measure_device_limits(const Engine& engine) {
    Device& device = *engine.device;
    const std::vector<std::byte> numbers = random_numbers(engine.compute, std::size_t{1} << 20);
    const auto best = [&](const std::function<void(Stream&)>& work) {
        double seconds = 1e30;
        for (int i = 0; i < 10; ++i) seconds = std::min(seconds, device.seconds({work})[0]);
        return seconds;
    };
    constexpr std::size_t copied = std::size_t{2} << 30;
    double copy = 0;
    {
        const DeviceMemory from(device, copied), to(device, copied);
        fill(device, from, numbers);
        copy = best([&](Stream&) { device.copy(to.data(), from.data(), copied); });
    }
    constexpr std::int64_t n = 8192;
    const TensorDesc square({n, n}, Layout::plain, engine.compute);
    const BuiltOp product = engine.backend->make(
        {.kind = OpKind::linear_backward_data, .inputs = {square, square}, .outputs = {square}});
    const DeviceMemory a(device, square.bytes()), b(device, square.bytes()), c(device, square.bytes()),
        workspace(device, product.workspace);
    for (const DeviceMemory* memory : {&a, &b}) fill(device, *memory, numbers);
    void* const inputs[] = {a.data(), b.data()};
    void* const outputs[] = {c.data()};
    const double multiply =
        best([&](Stream& stream) { product.op->run(inputs, outputs, workspace.data(), stream); });
    return {.bytes_per_second = 2.0 * copied / copy,
            .flops_per_second = 2.0 * static_cast<double>(n * n * n) / multiply,
            .source = fmt::format(
                "measured now: a copy of 2 GiB, a product of {0} x {0} matrices, the best of 10", n)};
}

void synthetic_batch(Runnable& runnable, const ProfileOptions& options) {
    const int batch = options.train.batch_size, size = options.train.size;
    std::vector<std::uint8_t> images(static_cast<std::size_t>(batch) * static_cast<std::size_t>(size * size) *
                                     3);
    std::vector<std::int32_t> labels(static_cast<std::size_t>(batch));
    RandomStream random(0, RandomPurpose::demo_data, 0, 0);
    for (auto& pixel : images) pixel = static_cast<std::uint8_t>(random.below(256));
    for (auto& label : labels)
        label = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(options.classes)));
    runnable.set_batch(images.data(), labels.data(), batch);
}

void begin_training(State& state) {
    constexpr std::int64_t no_end = std::int64_t{1} << 30;
    Schedule schedule{};
    schedule.steps = no_end;
    schedule.count = 1;
    schedule.segments[0] = {0, 1, 1e-3, 1e-3, 0.9, 0.9, Curve::linear, Curve::linear};
    begin_updates(state, schedule, 0, no_end);
}

Profile::Whole measure_whole(const ProfileOptions& options, Device& device, State& state,
                             Runnable& runnable) {
    // A CPU has done the step when the launch returns; a GPU is kept busy by some launches before
    // each wait.
    const int blocks = device.kind() == DeviceKind::cuda ? 3 : options.repeats;
    const int launches = device.kind() == DeviceKind::cuda ? options.repeats : 1;
    const std::int64_t before = state.read_control().update;
    device.synchronize();
    Profile::Whole whole;
    const RuntimeCalls calls_before = device.runtime_calls();
    std::vector<double> times;
    std::uint64_t calls = 0;
    RuntimeCalls launched = calls_before;
    for (int block = 0; block < blocks; ++block) {
        const auto start = Clock::now();
        for (int i = 0; i < launches; ++i) runnable.launch();
        if (block == 0) launched = device.runtime_calls();
        device.synchronize();
        times.push_back(seconds_since(start) / launches);
    }
    for (const auto& [name, count] : launched.of) {
        const auto earlier = calls_before.of.find(name);
        calls += count - (earlier == calls_before.of.end() ? 0 : earlier->second);
    }
    whole.seconds = median(times);
    whole.calls = static_cast<double>(calls) / launches;
    whole.blocking_calls = static_cast<double>(launched.blocking - calls_before.blocking) / launches;
    whole.launches = std::int64_t{blocks} * launches;
    whole.updates = state.read_control().update - before;
    return whole;
}

}  // namespace

double Profile::flops() const {
    double sum = 0;
    for (const ProfiledStep& step : steps) sum += step.flops;
    return sum;
}

double Profile::bytes() const {
    double sum = 0;
    for (const ProfiledStep& step : steps) sum += step.bytes;
    return sum;
}

double Profile::limit() const {
    double sum = 0;
    for (const ProfiledStep& step : steps) sum += step.limit;
    return sum;
}

std::optional<double> Profile::seconds() const {
    double sum = 0;
    for (const ProfiledStep& step : steps) {
        if (!step.seconds) return {};
        sum += *step.seconds;
    }
    return sum;
}

std::vector<std::string> Profile::doubts() const {
    std::vector<std::string> lines;
    if (!whole || !comparable) return lines;
    if (load && load->others > 0.1 && load->others + 1 > load->processors)
        lines.push_back(fmt::format("other programs used {:.1f} of the {:.0f} processors meanwhile",
                                    load->others, load->processors));
    const auto moved = [](double one, double other) {
        return std::max(one, other) / std::min(one, other) - 1;
    };
    if (before && after) {
        const double copy = moved(before->bytes_per_second, after->bytes_per_second),
                     compute = moved(before->flops_per_second, after->flops_per_second);
        if (std::max(copy, compute) > 0.15)
            lines.push_back(
                fmt::format("the limits measured before and after differ: {:.1f} and {:.1f} GB/s, {:.2f} and "
                            "{:.2f} TFLOP/s",
                            before->bytes_per_second / 1e9, after->bytes_per_second / 1e9,
                            before->flops_per_second / 1e12, after->flops_per_second / 1e12));
    }
    // What takes a tenth of the time or more. Small operations find their operands in a cache.
    std::map<std::string, std::pair<double, double>> sums;  // limit and time of an operation's steps
    double all = 0;
    for (const ProfiledStep& step : steps) {
        auto& [limit, time] = sums[step.operation];
        limit += step.limit;
        time += step.seconds.value_or(0);
        all += step.seconds.value_or(0);
    }
    std::string above;
    for (const auto& [operation, sum] : sums)
        if (sum.second > 0.05 * all && sum.first > 1.05 * sum.second)
            above += fmt::format("{}{} {:.0f} %", above.empty() ? "" : ", ", operation,
                                 100 * sum.first / sum.second);
    if (!above.empty()) lines.push_back("shares pass 100 %: " + above);
    return lines;
}

void name_libraries(Program& program) {
    const std::string in_place_of = "host loops for ";
    for (ProgramOp& step : program.ops)
        if (step.implementation.starts_with(in_place_of)) step.implementation.erase(0, in_place_of.size());
}

Limits limits_of(const std::string& gpu) {
    const char* const source = "an {}: a large copy and 16-bit matrix products as measured with PyTorch";
    if (gpu == "h200") return {4.3e12, 790e12, fmt::format(fmt::runtime(source), "H200")};
    if (gpu == "h100") return {3.0e12, 790e12, fmt::format(fmt::runtime(source), "H100")};
    throw Error(ErrorKind::usage, "option not usable", "--predict " + gpu, "its limits are not known",
                "use h200 or h100, or name them: --limits GBPS,TFLOPS");
}

Profile predict_profile(const ProfileOptions& options, const Limits& limits) {
    // The program is the GPU's: which library computes a product changes nothing of it.
    const DeviceChoice choice = choose_device("emulated", options.train.precision);
    const auto backend = make_emulated_backend();
    const Network network = network_of(options);
    const StateLayout layout(network, *backend, options.train.decay_norm_and_bias, choice.compute);
    Profile profile{.options = options, .device = "none", .precision = choice.precision, .limits = limits};
    Program program = compile_step(options, network, layout, *backend);
    name_libraries(program);
    describe(profile, program);
    return profile;
}

Profile measure_profile(const ProfileOptions& options) {
    const auto start = Clock::now();
    const TrainOptions& train = options.train;
    const DeviceChoice choice = choose_device(train.device, train.precision);
    const Engine engine = make_engine(train.device, train.precision, train.threads,
                                      {.deterministic = train.deterministic, .graph = !train.no_graph});
    Device& device = *engine.device;
    // Of a GPU before its memory is full. What other programs slow down is slow at some time: the
    // higher ones count.
    const bool measured = !options.limits && device.kind() != DeviceKind::emulated;
    const auto limits_now = [&] {
        return device.kind() == DeviceKind::cpu ? measure_cpu_limits(worker_threads(train.threads))
                                                : measure_device_limits(engine);
    };
    const LoadMeter meter;
    const auto limits_began = Clock::now();
    const std::optional<Limits> limits_before = measured ? std::optional(limits_now()) : std::nullopt;
    const double limits_took = seconds_since(limits_began);
    const Network network = network_of(options);
    const StateLayout layout(network, *engine.backend, train.decay_norm_and_bias, engine.compute);
    State state(device, network, layout, optimizer_options(train));
    state.initialise(0);
    Program program = compile_step(options, network, layout, *engine.backend);
    DeviceMemory arena(device, program.arena_bytes);
    Runnable runnable(program, state, arena);
    begin_training(state);
    synthetic_batch(runnable, options);
    runnable.launch();
    device.synchronize();
    const double first = seconds_since(start) - limits_took;

    const int warm_up = device.kind() == DeviceKind::cuda ? 30 : device.kind() == DeviceKind::cpu ? 2 : 0;
    for (int i = 0; i < warm_up; ++i) runnable.launch();
    Profile profile{.options = options, .device = device.name(), .precision = choice.precision};
    profile.whole = measure_whole(options, device, state, runnable);
    profile.whole->first = first;

    std::vector<std::vector<double>> times(program.ops.size());
    for (int i = 0; i < options.repeats; ++i)
        for (std::size_t step = 0; const double seconds : runnable.step_seconds())
            times[step++].push_back(seconds);

    profile.comparable = device.kind() != DeviceKind::emulated || options.limits.has_value();
    if (measured) {
        profile.before = limits_before;
        profile.after = limits_now();
        profile.limits = *profile.after;
        profile.limits.bytes_per_second =
            std::max(profile.before->bytes_per_second, profile.after->bytes_per_second);
        profile.limits.flops_per_second =
            std::max(profile.before->flops_per_second, profile.after->flops_per_second);
        profile.limits.source += "; the higher of before and after";
    } else {
        profile.limits = options.limits ? *options.limits : limits_of("h200");
    }
    profile.load = meter.read();
    describe(profile, program);
    for (std::size_t i = 0; i < times.size(); ++i) profile.steps[i].seconds = median(times[i]);
    return profile;
}

AccessCounts count_accesses(const ProfileOptions& options) {
    if (!LaunchCounter::possible())
        throw Error(ErrorKind::usage, "option not usable", "--counts",
                    "this build does not look at the accesses of kernels",
                    "in the source folder, cmake --preset shadow && cmake --build --preset shadow --target "
                    "onecycle_cli && build-shadow/onecycle profile --device emulated --counts");
    const TrainOptions& train = options.train;
    if (train.device != "emulated")
        throw Error(ErrorKind::usage, "option not usable", "--counts",
                    "kernels are counted on the emulated device alone", "add --device emulated");
    const DeviceChoice choice = choose_device(train.device, train.precision);
    const Engine engine = make_engine(train.device, train.precision, train.threads,
                                      {.deterministic = train.deterministic, .graph = false});
    Device& device = *engine.device;
    const Network network = network_of(options);
    const StateLayout layout(network, *engine.backend, train.decay_norm_and_bias, engine.compute);
    State state(device, network, layout, optimizer_options(train));
    state.initialise(0);
    Program program = compile_step(options, network, layout, *engine.backend);
    DeviceMemory arena(device, program.arena_bytes);
    Runnable runnable(program, state, arena);
    begin_training(state);
    synthetic_batch(runnable, options);
    device.synchronize();

    AccessCounts counts{.options = options, .precision = choice.precision};
    LaunchCounter counter;
    runnable.run_eagerly([&](int i, double) {
        const ProgramOp& step = program.ops[static_cast<std::size_t>(i)];
        for (LaunchCounts& launch : counter.take())
            counts.launches.push_back(
                {std::move(launch), i, step.name, name_of(step.desc.kind), shape_of(step.desc), step.bytes});
    });
    return counts;
}

}  // namespace onecycle
