// Which of cuDNN's plans computes a convolution: the one that was fastest on this GPU, from the
// cache on disk or timed now; a plan that fails gives way to the next, at last to our own direct
// kernel.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <vector>

#include "device/cuda/library_call.h"
#include "onecycle/error.h"
#include "ops/cuda/convolution.h"
#include "ops/cuda/cudnn.h"
#include "ops/cuda/plan_book.h"
#include "ops/cuda/plan_cache.h"
#include "ops/cuda/plan_search.h"
#include "ops/cuda/plan_timer.h"

namespace onecycle::cuda {

namespace {

struct Choice {
    cudnn::EngineChoice engine;
    cudnn::Plan plan;
};

// What a plan depends on beside the convolution: the GPU and the library.
std::string machine_name(const std::string& version) {
    int device = 0;
    cudaDeviceProp properties;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    return std::string(properties.name) + ", cuDNN " + version;
}

// cuDNN and its handle.
struct Session {
    cudnn::Library library;
    cudnn::Target target{library};
    std::string machine = machine_name(library.version());  // asking takes the driver a while
};

// Shared by all operations that live.
std::shared_ptr<const Session> session() {
    static std::mutex mutex;
    static std::weak_ptr<const Session> shared;
    const std::lock_guard lock(mutex);
    std::shared_ptr<const Session> found = shared.lock();
    if (!found) {
        found = std::make_shared<const Session>();
        shared = found;
    }
    return found;
}

// x, w and y of a problem in the order in which a plan takes them.
std::vector<PlanTimer::Buffer> buffers_of(const ConvolutionProblem& p) {
    const auto buffer = [&](std::int64_t elements) {
        return PlanTimer::Buffer{p.type, static_cast<std::size_t>(elements) * size_of(p.type)};
    };
    const auto x = buffer(p.x_elements()), w = buffer(p.w_elements()), y = buffer(p.y_elements());
    if (p.pass == Pass::forward) return {x, w, y};
    return p.pass == Pass::backward_data ? std::vector{y, w, x} : std::vector{y, x, w};
}

std::optional<Choice> usable(const cudnn::Finder& finder, const cudnn::EngineChoice& engine) {
    std::optional<cudnn::Plan> plan = finder.plan(engine);
    if (!plan || plan->workspace() > cudnn::workspace_cap) return std::nullopt;
    return Choice{engine, std::move(*plan)};
}

// Engines that are compiled on the device cost a second or so each to try: only those that the
// heuristic puts this far in front are.
constexpr std::size_t compiled_tries = 4;

// Those that may be used, as cuDNN orders them, the best first.
std::vector<cudnn::EngineChoice> engines_of(const cudnn::Finder& finder, const ConvolutionProblem& problem,
                                            const Context& context) {
    std::vector<cudnn::EngineChoice> engines;
    const std::vector<cudnn::Candidate> candidates = finder.candidates();
    for (std::size_t i = 0; i < candidates.size(); ++i)
        if ((!candidates[i].compiled_at_run_time || i < compiled_tries) &&
            cudnn::allowed(candidates[i], problem.type, context.deterministic, context.tf32))
            engines.push_back(candidates[i].choice);
    return engines;
}

// The fastest plan; where there is no memory to time them in, the first one. Keeps what it found in
// the cache.
std::optional<Choice> search(const cudnn::Finder& finder, const ConvolutionProblem& problem,
                             const Context& context, const std::string& convolution, const PlanCache& cache,
                             const std::string& key) {
    const std::vector<std::string> broken = cache.broken(key);
    std::vector<cudnn::EngineChoice> engines;
    std::vector<std::string> names;
    for (const cudnn::EngineChoice& engine : engines_of(finder, problem, context)) {
        if (std::ranges::count(broken, to_string(engine))) continue;
        engines.push_back(engine);
        names.push_back(to_string(engine));
    }
    std::optional<PlanTimer> timer;
    try {
        timer.emplace(buffers_of(problem));
    } catch (const Error&) {
        cudaGetLastError();  // no memory: not the next call's error
    }
    PlanTrials trials;
    if (timer) {
        trials.time = [&](std::size_t i, double best) -> std::optional<double> {
            const std::optional<Choice> choice = usable(finder, engines[i]);
            return choice ? std::optional(timer->time(choice->plan, best)) : std::nullopt;
        };
        trials.device_works = [&] { return timer->device_works(); };
    } else {
        trials.most = 1;
        trials.time = [&](std::size_t i, double) {
            return usable(finder, engines[i]) ? std::optional(0.0) : std::nullopt;
        };
    }
    PlanSearch found;
    try {
        found = search_plans(convolution, names, trials);
    } catch (const DeviceLost& lost) {
        cache.add_broken(key, lost.plan());
        throw;
    }
    if (timer && !found.timed.empty()) cache.add(key, found.timed);
    if ((found.failed > 0 || !found.best) && (!context.plans || context.plans->first_warning(convolution)))
        std::fprintf(
            stderr, "warning: cuDNN: %s: %s%s\n", convolution.c_str(),
            found.failed == 0
                ? "it has no plan"
                : fmt::format("{} of its plans did not run ({})", found.failed, found.first_failure).c_str(),
            found.best ? "; another takes its place" : "; our own kernel takes its place, which is slow");
    return found.best ? usable(finder, engines[*found.best]) : std::nullopt;
}

std::string convolution_name(const ConvolutionProblem& problem, const Context& context) {
    return to_string(problem) + (context.tf32 && problem.type == DType::f32 ? ", tf32" : "") +
           (context.deterministic ? "" : ", any order");
}

constexpr const char* direct = "direct";  // our own kernel, in a plan book

}  // namespace

PlannedProduct plan_convolution(const ConvolutionProblem& problem, const Context& context) {
    const std::shared_ptr<const Session> on = session();
    const cudnn::Finder finder(on->target, problem);
    const std::string &machine = on->machine, convolution = convolution_name(problem, context);

    std::optional<Choice> choice;
    const auto take = [&](const std::optional<std::string>& kept) {
        if (!kept || choice) return;
        if (const std::optional<cudnn::EngineChoice> engine = cudnn::engine_choice(*kept))
            choice = usable(finder, *engine);
    };
    const std::optional<std::string> preferred =
        context.plans ? context.plans->preferred(machine, convolution) : std::nullopt;
    take(preferred);
    if (preferred != direct) {
        const PlanCache cache(PlanCache::default_path());
        const std::string key = machine + ", " + convolution;
        if (!choice) take(cache.find(key));
        if (!choice) choice = search(finder, problem, context, convolution, cache, key);
    }
    if (context.plans) context.plans->use(machine, convolution, choice ? to_string(choice->engine) : direct);
    if (!choice) return plan_direct_convolution(problem);
    return {"cudnn " + to_string(choice->engine), choice->plan.workspace(),
            [on, plan = std::move(choice->plan)](const void* first, const void* second, void* out,
                                                 void* workspace, cudaStream_t stream) {
                const LibraryCall call;
                plan.run({const_cast<void*>(first), const_cast<void*>(second), out}, workspace, stream);
            }};
}

}  // namespace onecycle::cuda
