// Which of cuDNN's plans computes a convolution: the one that was fastest on this GPU, from the cache on disk or
// timed now; a plan that fails gives way to the next, at last to our own direct kernel.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <random>
#include <vector>

#include "device/cuda/timing.h"
#include "onecycle/error.h"
#include "ops/cuda/convolution.h"
#include "ops/cuda/cudnn.h"
#include "ops/cuda/library_call.h"
#include "ops/cuda/plan_book.h"
#include "ops/cuda/plan_cache.h"
#include "ops/cuda/plan_search.h"

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

// Memory of the device for the time of a search.
class Memory {
  public:
    explicit Memory(std::size_t bytes) : bytes_(std::max<std::size_t>(bytes, 16)) {
        check(cudaMalloc(&data_, bytes_), "cudaMalloc");
    }
    ~Memory() { cudaFree(data_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    void* data() const { return data_; }
    std::size_t bytes() const { return bytes_; }

  private:
    std::size_t bytes_;
    void* data_ = nullptr;
};

// Small numbers in [0.5, 1) with random signs and fractions: zeros would run faster than real numbers do.
void fill(const Memory& memory, DType type, cudaStream_t stream) {
    std::mt19937 random(1);
    std::vector<std::uint32_t> words((1 << 20) / sizeof(std::uint32_t));
    for (std::uint32_t& word : words) {
        const std::uint32_t bits = random();
        word = type == DType::f32    ? 0x3F000000u | (bits & 0x807FFFFFu)
               : type == DType::bf16 ? 0x3F003F00u | (bits & 0x807F807Fu)
                                     : 0x38003800u | (bits & 0x83FF83FFu);
    }
    const auto copy = [&](std::size_t at, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
        check(cudaMemcpyAsync(static_cast<std::byte*>(memory.data()) + at, from, bytes, kind, stream),
              "cudaMemcpyAsync");
    };
    std::size_t filled = std::min(words.size() * sizeof(std::uint32_t), memory.bytes());
    copy(0, words.data(), filled, cudaMemcpyHostToDevice);
    for (std::size_t some; filled < memory.bytes(); filled += some) {
        some = std::min(filled, memory.bytes() - filled);
        copy(filled, memory.data(), some, cudaMemcpyDeviceToDevice);
    }
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

// Times plans of one problem on buffers of its own: the second-level cache is cold, medians count.
class Stopwatch {
  public:
    explicit Stopwatch(const ConvolutionProblem& p)
        : x_(bytes(p, p.x_elements())),
          w_(bytes(p, p.w_elements())),
          y_(bytes(p, p.y_elements())),
          flushed_(flush_bytes()) {
        first_ = p.pass == Pass::forward ? x_.data() : y_.data();
        second_ = p.pass == Pass::backward_weights ? x_.data() : w_.data();
        out_ = p.pass == Pass::forward ? y_.data() : p.pass == Pass::backward_data ? x_.data() : w_.data();
        for (const Memory* memory : {&x_, &w_, &y_}) fill(*memory, p.type, stream_.get());
    }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

    // Milliseconds; gives up early on a plan that takes more than three times `best`. Throws Error(device) when it
    // does not run. The plan is part of a captured graph, as in a step, so that the host's time for the call does not
    // count.
    double time(const cudnn::Plan& plan, double best) {
        const Memory workspace(plan.workspace());
        const auto run = [&] { plan.run({first_, second_, out_}, workspace.data(), stream_.get()); };
        run();  // loads its code, and shows whether it works
        check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
        const GraphExec graph = capture_graph(stream_.get(), [&] {
            check(cudaMemsetAsync(flushed_.data(), 0, flushed_.bytes(), stream_.get()), "cudaMemsetAsync");
            record_in_graph(begin_.get(), stream_.get());
            {
                const LibraryCall call;
                run();
            }
            record_in_graph(end_.get(), stream_.get());
        });
        std::vector<double> times;
        for (int i = 0; i < repetitions; ++i) {
            check(cudaGraphLaunch(graph.get(), stream_.get()), "cudaGraphLaunch");
            check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
            times.push_back(1e3 * seconds_between(begin_.get(), end_.get()));
            if (times.back() > 3 * best) break;
        }
        std::sort(times.begin(), times.end());
        return times[times.size() / 2];
    }

    // Waits for what a plan that failed left behind. False: the error stays, nothing will work any more.
    bool device_works() const {
        cudaGetLastError();  // not the next call's error
        return cudaStreamSynchronize(stream_.get()) == cudaSuccess;
    }

  private:
    static constexpr int repetitions = 7;

    static std::size_t bytes(const ConvolutionProblem& p, std::int64_t elements) {
        return static_cast<std::size_t>(elements) * size_of(p.type);
    }
    static std::size_t flush_bytes() {
        int cache = 0, device = 0;
        check(cudaGetDevice(&device), "cudaGetDevice");
        check(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, device), "cudaDeviceGetAttribute");
        return 2 * static_cast<std::size_t>(cache);
    }

    Memory x_, w_, y_, flushed_;
    void *first_, *second_, *out_;
    StreamHandle stream_ = make_stream(0);
    Event begin_ = make_timing_event(), end_ = make_timing_event();
};

std::optional<Choice> usable(const cudnn::Finder& finder, const cudnn::EngineChoice& engine) {
    std::optional<cudnn::Plan> plan = finder.plan(engine);
    if (!plan || plan->workspace() > cudnn::workspace_cap) return std::nullopt;
    return Choice{engine, std::move(*plan)};
}

// Engines that are compiled on the device cost a second or so each to try: only those that the heuristic puts this
// far in front are.
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

// The fastest plan; where there is no memory to time them in, the first one. Keeps what it found in the cache.
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
    std::optional<Stopwatch> stopwatch;
    try {
        stopwatch.emplace(problem);
    } catch (const Error&) {
        cudaGetLastError();  // no memory: not the next call's error
    }
    PlanTrials trials;
    if (stopwatch) {
        trials.time = [&](std::size_t i, double best) -> std::optional<double> {
            const std::optional<Choice> choice = usable(finder, engines[i]);
            return choice ? std::optional(stopwatch->time(choice->plan, best)) : std::nullopt;
        };
        trials.device_works = [&] { return stopwatch->device_works(); };
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
    if (stopwatch && !found.timed.empty()) cache.add(key, found.timed);
    if ((found.failed > 0 || !found.best) && (!context.plans || context.plans->first_warning(convolution)))
        std::fprintf(stderr, "warning: cuDNN: %s: %s%s\n", convolution.c_str(),
                     found.failed == 0
                         ? "it has no plan"
                         : fmt::format("{} of its plans did not run ({})", found.failed, found.first_failure)
                               .c_str(),
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
