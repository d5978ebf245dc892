#include "train/engine.h"

#include <algorithm>
#include <array>
#include <thread>

#include "device/communicator.h"
#include "device/cuda/machine.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

template <std::size_t n>
void one_of(const std::string& option, const std::string& value, const std::array<const char*, n>& names,
            const std::string& fix) {
    if (std::find(names.begin(), names.end(), value) == names.end())
        throw Error(ErrorKind::usage, "option not usable", option + " " + value, "there is no such choice",
                    fix);
}

// What a GPU computes in: 16 bits with the range of a float, unless something else is asked for.
DType compute_type(const std::string& precision) {
    if (precision == "auto" || precision == "bf16") return DType::bf16;
    return precision == "fp16" ? DType::f16 : DType::f32;
}

// CUDA_VISIBLE_DEVICES says which GPUs there are. A launcher that shows each rank its own GPU alone
// calls it number 0.
int gpu_of(const RankPlace& place) {
    const int gpus = static_cast<int>(examine_cuda().gpus.size());
    return gpus > 1 ? place.local_rank % gpus : 0;
}

MissingCuda look_for_cuda() {
    const CudaMachine machine = examine_cuda();
    if (!machine.missing.empty()) return {machine.missing, machine.fix};
    if (const std::string why = machine.why_not(0); !why.empty())
        return {why,
                "build with ONECYCLE_CUDA_ARCHITECTURES for it, or name another GPU in CUDA_VISIBLE_DEVICES"};
    for (const CudaLibrary& library : cuda_libraries())
        if (library.needed && !library.missing.empty())
            return {library.missing,
                    "install " + library.package + ", or name its folder in ONECYCLE_LIBRARY_PATH"};
    return {};
}

}  // namespace

DeviceChoice choose_device(const std::string& device, const std::string& precision) {
    one_of("--device", device, std::array{"auto", "cpu", "cuda", "emulated"},
           "use auto, cpu, cuda or emulated");
    one_of("--precision", precision, std::array{"auto", "fp32", "tf32", "bf16", "fp16"},
           "use auto, fp32, tf32, bf16 or fp16");
    if (device == "cuda" && !missing_for_cuda().why.empty())
        throw Error(ErrorKind::device, "no such device", "--device " + device, missing_for_cuda().why,
                    missing_for_cuda().fix + ", or use --device cpu");
    if (device == "cuda" || (device == "auto" && missing_for_cuda().why.empty()))
        return {"cuda", precision == "auto" ? "bf16" : precision, compute_type(precision)};
    if (device == "emulated") {
        if (precision == "tf32")
            throw Error(ErrorKind::device, "no such precision", "--precision tf32",
                        "the emulated device has no tensor cores", "use fp32, bf16 or fp16");
        return {device, precision == "auto" ? "bf16" : precision, compute_type(precision)};
    }
    if (precision != "auto" && precision != "fp32")
        throw Error(ErrorKind::device, "no such precision", "--precision " + precision,
                    "the CPU computes in fp32", "leave it out");
    return {"cpu", "fp32", DType::f32};
}

const MissingCuda& missing_for_cuda() {
    static const MissingCuda missing = look_for_cuda();
    return missing;
}

int worker_threads(int threads) {
    if (threads > 0) return threads;
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Engine make_engine(const std::string& device, const std::string& precision, int threads,
                   const EngineMode& mode) {
    const DeviceChoice choice = choose_device(device, precision);
    const StepMode steps = mode.graph ? StepMode::graph : StepMode::eager;
    Engine engine{.compute = choice.compute};
    if (choice.device == "cuda") {
        const int gpu = gpu_of(mode.place);
        engine.device = make_cuda_device(gpu, steps);
        engine.backend = make_cuda_backend({.device = gpu,
                                            .tf32 = choice.precision == "tf32",
                                            .deterministic = mode.deterministic,
                                            .plans = engine.plans,
                                            .ranks = mode.ranks});
    } else if (choice.device == "emulated") {
        engine.device = make_emulated_device(steps);
        engine.backend = make_emulated_backend(mode.ranks);
    } else {
        engine.device = make_cpu_device(worker_threads(threads));
        engine.backend = make_cpu_backend(worker_threads(threads), mode.ranks);
    }
    return engine;
}

}  // namespace onecycle
