#include "train/engine.h"

#include <algorithm>
#include <array>
#include <thread>

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

}  // namespace

DeviceChoice choose_device(const std::string& device, const std::string& precision) {
    one_of("--device", device, std::array{"auto", "cpu", "cuda", "emulated"},
           "use auto, cpu, cuda or emulated");
    one_of("--precision", precision, std::array{"auto", "fp32", "tf32", "bf16", "fp16"},
           "use auto, fp32, tf32, bf16 or fp16");
    if (device == "cuda")
        throw Error(ErrorKind::device, "no such device", "--device " + device,
                    "this build cannot run on a GPU yet", "use --device cpu, or leave it out");
    if (device == "emulated") {
        // As on a GPU: 16 bits with the range of a float, unless something else is asked for.
        const std::string chosen = precision == "auto" ? "bf16" : precision;
        return {device, chosen, chosen == "bf16" ? DType::bf16 : chosen == "fp16" ? DType::f16 : DType::f32};
    }
    if (precision != "auto" && precision != "fp32")
        throw Error(ErrorKind::device, "no such precision", "--precision " + precision,
                    "the CPU computes in fp32", "leave it out");
    return {"cpu", "fp32", DType::f32};
}

int worker_threads(int threads) {
    if (threads > 0) return threads;
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Engine make_engine(const std::string& device, const std::string& precision, int threads) {
    const DeviceChoice choice = choose_device(device, precision);
    if (choice.device == "emulated") return {make_emulated_device(), make_emulated_backend(), choice.compute};
    return {make_cpu_device(worker_threads(threads)), make_cpu_backend(worker_threads(threads)),
            choice.compute};
}

}  // namespace onecycle
