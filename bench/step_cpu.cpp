// Images a second of bare training steps on synthetic data: no decoding, no logging. The counterpart of
// `bench/pytorch_cpu.py --synthetic`; `bench/compare_cpu.py` runs both in turns.
//     bench_step_cpu [arch] [size] [batch] [steps] [threads] [slowest]
// `slowest`: how many of the slowest operations and kinds of operation to list, each the median of five runs.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <vector>

#include "nn/program.h"
#include "onecycle/rng.h"

int main(int argc, char** argv) {
    using namespace onecycle;
    const auto argument = [&](int i, const char* otherwise) { return argc > i ? argv[i] : otherwise; };
    const std::string arch = argument(1, "resnet34");
    const int size = std::atoi(argument(2, "64")), batch = std::atoi(argument(3, "64")),
              steps = std::atoi(argument(4, "10")), threads = std::atoi(argument(5, "0"));
    const auto slowest_shown = static_cast<std::size_t>(std::atoi(argument(6, "0")));

    const auto device = make_cpu_device(threads);
    const auto backend = make_cpu_backend(threads);
    const Network network = resnet({.arch = arch, .classes = 10, .size = size});
    ProgramKey key;
    key.batch = batch;
    const StateLayout layout(network, *backend, false);
    State state(*device, network, layout, key.optimizer);
    state.initialise(0);
    Program program = compile(network, layout, *backend, key);
    DeviceMemory arena(*device, program.arena_bytes);
    Runnable runnable(program, state, arena);

    StepControl control = state.read_control();
    control.schedule.steps = control.last_update = 1 << 30;
    control.schedule.count = 1;
    control.schedule.segments[0] = {0, 1, 1e-3, 1e-3, 0.9, 0.9, Curve::linear, Curve::linear};
    state.write_control(control);
    std::vector<std::uint8_t> images(static_cast<std::size_t>(batch * size * size * 3));
    std::vector<std::int32_t> labels(static_cast<std::size_t>(batch));
    RandomStream random(0, RandomPurpose::demo_data, 0, 0);
    for (auto& pixel : images) pixel = static_cast<std::uint8_t>(random.below(256));
    for (auto& label : labels) label = static_cast<std::int32_t>(random.below(10));
    runnable.set_batch(images.data(), labels.data(), batch);

    const auto now = [] { return std::chrono::steady_clock::now(); };
    for (int i = 0; i < 3; ++i) runnable.launch();
    std::vector<double> seconds;
    for (int i = 0; i < steps; ++i) {
        const auto start = now();
        runnable.launch();
        seconds.push_back(std::chrono::duration<double>(now() - start).count());
    }
    std::nth_element(seconds.begin(), seconds.begin() + steps / 2, seconds.end());
    const double median = seconds[static_cast<std::size_t>(steps / 2)];
    fmt::print("{} {} px batch {}: {:.1f} images/s, {:.1f} ms a step, {:.0f} GFLOP/s, arena {:.0f} MB\n",
               arch, size, batch, batch / median, median * 1e3, program.flops() / median / 1e9,
               static_cast<double>(program.arena_bytes) / 1e6);

    if (slowest_shown == 0) return 0;
    // Where the time goes: the median of five, by step and by kind of operation.
    std::vector<std::vector<double>> samples(program.steps.size());
    for (int i = 0; i < 5; ++i)
        runnable.run_eagerly(
            [&](int step, double s) { samples[static_cast<std::size_t>(step)].push_back(s); });
    std::map<std::string, double> by_kind;
    std::vector<std::pair<double, std::string>> kinds, slowest;
    for (std::size_t i = 0; i < samples.size(); ++i) {
        std::nth_element(samples[i].begin(), samples[i].begin() + 2, samples[i].end());
        const double s = samples[i][2];
        const ProgramStep& step = program.steps[i];
        by_kind[name_of(step.desc.kind)] += s;
        slowest.push_back({s, fmt::format("{:6.1f} GFLOP/s  {:5.1f} GB/s  {} [{}]", step.flops / s / 1e9,
                                          step.bytes / s / 1e9, step.name, step.implementation)});
    }
    for (const auto& [kind, s] : by_kind) kinds.push_back({s, kind});
    for (auto* list : {&kinds, &slowest}) {
        std::sort(list->rbegin(), list->rend());
        list->resize(std::min(list->size(), slowest_shown));
        for (const auto& [s, text] : *list) fmt::print("  {:7.2f} ms  {}\n", s * 1e3, text);
    }
}
