// Which of cuDNN's plans computes a convolution: the one that was fastest on this GPU, from the cache on disk or
// timed now; a plan that fails gives way to the next, at last to our own direct kernel.
#include <algorithm>
#include <mutex>
#include <random>
#include <vector>

#include "onecycle/error.h"
#include "ops/cuda/convolution.h"
#include "ops/cuda/cudnn.h"
#include "ops/cuda/library_call.h"
#include "ops/cuda/plan_book.h"
#include "ops/cuda/plan_cache.h"

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
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
        for (cudaEvent_t* event : {&begin_, &end_}) check(cudaEventCreate(event), "cudaEventCreate");
        for (const Memory* memory : {&x_, &w_, &y_}) fill(*memory, p.type, stream_);
    }
    ~Stopwatch() {
        cudaEventDestroy(begin_);
        cudaEventDestroy(end_);
        cudaStreamDestroy(stream_);
    }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

    // Milliseconds; gives up early on a plan that takes more than three times `best`. Throws Error(device) when it
    // does not run.
    double time(const cudnn::Plan& plan, double best) {
        const Memory workspace(plan.workspace());
        run(plan, workspace);  // loads its code, and shows whether it works
        std::vector<double> times;
        for (int i = 0; i < repetitions; ++i) {
            times.push_back(run(plan, workspace));
            if (times.back() > 3 * best) break;
        }
        std::sort(times.begin(), times.end());
        return times[times.size() / 2];
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
    double run(const cudnn::Plan& plan, const Memory& workspace) {
        check(cudaMemsetAsync(flushed_.data(), 0, flushed_.bytes(), stream_), "cudaMemsetAsync");
        check(cudaEventRecord(begin_, stream_), "cudaEventRecord");
        plan.run(first_, second_, out_, workspace.data(), stream_);
        check(cudaEventRecord(end_, stream_), "cudaEventRecord");
        check(cudaEventSynchronize(end_), "cudaEventSynchronize");
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
        return static_cast<double>(milliseconds);
    }

    Memory x_, w_, y_, flushed_;
    void *first_, *second_, *out_;
    cudaStream_t stream_ = nullptr;
    cudaEvent_t begin_ = nullptr, end_ = nullptr;
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

struct Search {
    std::optional<Choice> best;
    std::vector<TimedPlan> timed;  // those that ran
};

// So many plans are timed, the first that run: PyTorch's number, too. cuDNN suggests some forty, most of them one engine
// with other knobs, and a network has as many convolutions.
constexpr std::size_t most_timed = 10;

// The fastest plan; where there is no memory to time them in, the first one.
Search search(const cudnn::Finder& finder, const std::vector<cudnn::EngineChoice>& engines,
              const ConvolutionProblem& problem) {
    Search found;
    std::optional<Stopwatch> stopwatch;
    try {
        stopwatch.emplace(problem);
    } catch (const Error&) {
        cudaGetLastError();  // no memory: not the next call's error
    }
    double best_time = 1e30;
    for (const cudnn::EngineChoice& engine : engines) {
        if (found.timed.size() == most_timed) break;
        std::optional<Choice> choice = usable(finder, engine);
        if (!choice) continue;
        if (!stopwatch) {
            found.best = std::move(choice);
            break;
        }
        try {
            const double time = stopwatch->time(choice->plan, best_time);
            found.timed.push_back({to_string(engine), time});
            if (time >= best_time) continue;
            best_time = time;
            found.best = std::move(choice);
        } catch (const Error&) {  // this engine fails here
            cudaGetLastError();
        }
    }
    return found;
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
        if (!choice) {
            Search found = search(finder, engines_of(finder, problem, context), problem);
            if (!found.timed.empty()) cache.add(key, found.timed);
            choice = std::move(found.best);
        }
    }
    if (context.plans) context.plans->use(machine, convolution, choice ? to_string(choice->engine) : direct);
    if (!choice) return plan_direct_convolution(problem);
    return {"cudnn " + to_string(choice->engine), choice->plan.workspace(),
            [on, plan = std::move(choice->plan)](const void* first, const void* second, void* out,
                                                 void* workspace, cudaStream_t stream) {
                const LibraryCall call;
                plan.run(first, second, out, workspace, stream);
            }};
}

}  // namespace onecycle::cuda
