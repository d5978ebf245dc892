// Convolutions with what stands around them as one graph of cuDNN, against the convolution alone
// and kernels of their own for the rest. Not yet run on a GPU.
//   bench_fusions [--seconds S]     on a GPU; stops after S seconds (60)
//   bench_fusions --list            needs no GPU: builds the graphs for an H200 and counts plans
// One JSON object a line: {"graph", "dtype", "n", "c", "h", "w", "k", "r", "stride", "engine",
// "plans", "microseconds", "plain_microseconds", "equal_bits", "error"}; null is what is not known.
// "plans": those that could be made and are within the cap of workspace; "microseconds": of the
// fastest of the first six; "plain_microseconds": of the fastest plain convolution, and of the
// bytes that kernels of their own would move beside it, at the speed of a copy that was timed here;
// of the stem as space to depth the stem today. "equal_bits": two runs of the fastest plan gave the
// same.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "cudnn_fusion_graphs.h"
#include "onecycle/error.h"
#include "ops/cuda/plan_search.h"
#include "ops/cuda/plan_timer.h"
#include "ops/h200_device_text.h"

namespace onecycle::fusions {

namespace {

using nlohmann::json;

struct Case {
    Kind kind;
    Shape shape;
    DType type;
    std::optional<std::int64_t> engine{};  // this one only
    bool space_to_depth = false;
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const std::int64_t n : {256, 64}) {
        for (const DType type : {DType::bf16, DType::f16})
            for (const Kind kind : {Kind::forward, Kind::weight_gradient}) {
                all.push_back({kind, stem(n), type});
                all.push_back(
                    {.kind = kind, .shape = stem_space_to_depth(n), .type = type, .space_to_depth = true});
            }
        for (const Shape& shape : resnet34(n)) {
            for (const Kind kind :
                 {Kind::forward, Kind::forward_sums, Kind::norm_forward_sums, Kind::data_gradient,
                  Kind::data_gradient_norm, Kind::data_gradient_add_norm, Kind::weight_gradient,
                  Kind::norm_weight_gradient})
                all.push_back({kind, shape, DType::f16});
            all.push_back({Kind::forward, shape, DType::bf16});
            // Hopper's engine among those that are compiled at run time.
            all.push_back({Kind::forward_one_sum, shape, DType::bf16, 2});
        }
    }
    return all;
}

std::string key(Kind kind, const Shape& s, DType type) {
    return name_of(kind) + name_of(type) + json{s.n, s.c, s.h, s.k, s.r, s.stride}.dump();
}

json describe(const Case& c) {
    return {{"graph", name_of(c.kind) + (c.space_to_depth ? " of the stem as space to depth" : "")},
            {"dtype", name_of(c.type)},
            {"n", c.shape.n},
            {"c", c.shape.c},
            {"h", c.shape.h},
            {"w", c.shape.h},
            {"k", c.shape.k},
            {"r", c.shape.r},
            {"stride", c.shape.stride},
            {"engine", nullptr},
            {"plans", 0},
            {"microseconds", nullptr},
            {"plain_microseconds", nullptr},
            {"equal_bits", nullptr},
            {"error", nullptr}};
}

void print(const json& line) {
    std::puts(line.dump().c_str());
    std::fflush(stdout);
}

// The names of the plans that may be used; those compiled at run time are only counted as
// candidates, since each takes seconds to make.
struct Offered {
    std::vector<std::string> names;
    std::size_t made = 0;
};
Offered offered(const cudnn::Finder& finder, const Case& c, bool with_compiled) {
    Offered found;
    int compiled = 0;
    for (const cudnn::Candidate& candidate : finder.candidates()) {
        if (c.engine && candidate.choice.engine != *c.engine) continue;
        if (!cudnn::allowed(candidate, c.type, false, false)) continue;
        if (candidate.compiled_at_run_time) {
            if (!with_compiled || compiled++ > 0) continue;
        } else {
            const auto plan = finder.plan(candidate.choice);
            if (!plan || plan->workspace() > cudnn::workspace_cap) continue;
        }
        ++found.made;
        found.names.push_back(to_string(candidate.choice));
    }
    return found;
}

std::vector<cuda::PlanTimer::Buffer> buffers_of(const Built& built) {
    std::vector<cuda::PlanTimer::Buffer> buffers;
    for (const cudnn::Tensor& t : built.tensors)
        buffers.push_back(
            {t.type, size_of(t.type) * static_cast<std::size_t>(t.dims.n * t.dims.c * t.dims.h * t.dims.w)});
    return buffers;
}

bool equal_bits(cuda::PlanTimer& timer, const cudnn::Plan& plan, const std::vector<std::size_t>& outputs) {
    std::vector<std::vector<std::byte>> first;
    timer.run(plan);
    for (const std::size_t i : outputs) first.push_back(timer.read(i));
    timer.run(plan);
    for (std::size_t i = 0; i < outputs.size(); ++i)
        if (timer.read(outputs[i]) != first[i]) return false;
    return true;
}

double copy_bytes_per_second() {
    using namespace cuda;
    constexpr std::size_t bytes = std::size_t{1} << 30;
    const TimingMemory from(bytes), to(bytes);
    const StreamHandle stream = make_stream(0);
    const Event begin = make_timing_event(), end = make_timing_event();
    const GraphExec graph = capture_graph(stream.get(), [&] {
        record_in_graph(begin.get(), stream.get());
        check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, stream.get()),
              "cudaMemcpyAsync");
        record_in_graph(end.get(), stream.get());
    });
    double best = 1e30;
    for (int i = 0; i < 5; ++i) {
        check(cudaGraphLaunch(graph.get(), stream.get()), "cudaGraphLaunch");
        check(cudaStreamSynchronize(stream.get()), "cudaStreamSynchronize");
        best = std::min(best, seconds_between(begin.get(), end.get()));
    }
    return 2.0 * bytes / best;
}

void measure(const cudnn::Target& target, const Case& c, double bytes_per_second,
             std::map<std::string, double>& plain_times, json& line) {
    const Built built = build(target, c.kind, c.shape, c.type);
    const cudnn::Finder finder(target, built.graph);
    const Offered plans = offered(finder, c, true);
    line["plans"] = plans.made;
    cuda::PlanTimer timer(buffers_of(built));
    PlanTrials trials{.time = [&](std::size_t i, double best) -> std::optional<double> {
                          const auto plan = finder.plan(*cudnn::engine_choice(plans.names[i]));
                          return plan ? std::optional(timer.time(*plan, best)) : std::nullopt;
                      },
                      .device_works = [&] { return timer.device_works(); },
                      .most = 6,
                      .seconds = 2};
    const PlanSearch found = search_plans(line["graph"], plans.names, trials);
    if (found.failed > 0) line["error"] = found.first_failure;
    if (!found.best) {
        if (found.failed == 0) line["error"] = "cuDNN has no plan";
        return;
    }
    const std::string& name = plans.names[*found.best];
    const auto fastest =
        std::ranges::min_element(found.timed, {}, &TimedPlan::milliseconds)->milliseconds * 1e3;
    line["engine"] = name;
    line["microseconds"] = fastest;
    line["equal_bits"] = equal_bits(timer, *finder.plan(*cudnn::engine_choice(name)), built.outputs);
    if (c.kind == plain(c.kind)) plain_times[key(c.kind, c.shape, c.type)] = fastest;
    const auto alone =
        plain_times.find(key(plain(c.kind), c.space_to_depth ? stem(c.shape.n) : c.shape, c.type));
    if (alone != plain_times.end())
        line["plain_microseconds"] =
            alone->second + 1e6 * bytes_beside(c.kind, c.shape, c.type) / bytes_per_second;
}

int run(double seconds) {
    const auto begin = std::chrono::steady_clock::now();
    const cudnn::Target target{cudnn::Library()};
    const double bytes_per_second = copy_bytes_per_second();
    std::map<std::string, double> plain_times;
    for (const Case& c : cases()) {
        json line = describe(c);
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
        if (taken.count() > seconds) {
            line["error"] = "no time was left for it";
            print(line);
            continue;
        }
        try {
            measure(target, c, bytes_per_second, plain_times, line);
        } catch (const DeviceLost& lost) {
            line["error"] = lost.what();
            print(line);
            return lost.exit_code();
        } catch (const Error& error) {
            line["error"] = error.what();
        }
        print(line);
    }
    return 0;
}

int list() {
    const cudnn::Target target(cudnn::Library(), testing::h200_device_text);
    for (const Case& c : cases()) {
        json line = describe(c);
        try {
            const Built built = build(target, c.kind, c.shape, c.type);
            const Offered plans = offered(cudnn::Finder(target, built.graph), c, false);
            line["plans"] = plans.made;
            if (!plans.names.empty()) line["engine"] = plans.names.front();
        } catch (const Error& error) {
            line["error"] = error.what();
        }
        print(line);
    }
    return 0;
}

int main_of(int count, char** words) {
    double seconds = 60;
    bool only_list = false;
    for (int i = 1; i < count; ++i) {
        const std::string_view word = words[i];
        char* end = nullptr;
        if (word == "--list") {
            only_list = true;
        } else if (word == "--seconds" && i + 1 < count &&
                   (seconds = std::strtod(words[++i], &end), *end == 0) && seconds > 0) {
        } else {
            throw Error(ErrorKind::usage, "bad option", "bench_fusions", "it knows no " + std::string(word),
                        "use --list, or --seconds and a number above 0");
        }
    }
    return only_list ? list() : run(seconds);
}

}  // namespace

}  // namespace onecycle::fusions

int main(int count, char** words) {
    try {
        return onecycle::fusions::main_of(count, words);
    } catch (const onecycle::Error& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return error.exit_code();
    }
}
