// onecycle doctor: what this build and this machine can do, and what to install.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "cli/json.h"
#include "cli/verb.h"
#include "device/communicator.h"
#include "onecycle/image.h"
#include "train/engine.h"

namespace onecycle::cli {

namespace {

// Whether the kernel says that the processor has this feature.
bool processor_has(const std::string& feature) {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (line.rfind("flags", 0) != 0) continue;
        std::istringstream flags(line);
        for (std::string flag; flags >> flag;)
            if (flag == feature) return true;
        return false;
    }
    return false;
}

std::string capability(const CudaGpu& gpu) {
    return fmt::format("{}.{}", gpu.major, gpu.minor);
}

void examine_gpus(MachineInfo& machine) {
    const CudaMachine& cuda = machine.cuda = examine_cuda();
    for (const CudaGpu& gpu : cuda.gpus)
        machine.devices.push_back(fmt::format("{}, {} GiB, compute capability {}{}", gpu.name,
                                              (gpu.memory + (1u << 29)) >> 30, capability(gpu),
                                              gpu.missing.empty() ? "" : ", cannot be used"));
    const bool here = !cuda.gpus.empty() || std::filesystem::exists("/proc/driver/nvidia/version");
    for (const CudaLibrary& library : cuda_libraries()) {
        machine.libraries.emplace_back(library.name, library.version);
        if (here && library.needed && !library.missing.empty())
            machine.advice.push_back(
                fmt::format("{}: install {}, or name its folder in ONECYCLE_LIBRARY_PATH", library.missing,
                            library.package));
    }
    const auto& [why, fix] = missing_for_cuda();
    machine.backends.push_back({"cuda", !cuda.toolkit.empty(), why.empty(), why, machine.cuda.fix});
    if (here && !cuda.why_not(0).empty())
        machine.advice.push_back(fmt::format("the GPU is not used: {}; {}", why, fix));
}

// What starts several ranks.
void examine_mpi(MachineInfo& machine) {
    const RanksSupport ranks = ranks_support();
    machine.libraries.emplace_back("MPI", ranks.library);
    if (!ranks.missing.empty())
        machine.advice.push_back("one process a job, no mpirun or srun: " + ranks.missing);
}

// libheif may come in parts: itself, and a plug-in for each kind of coding.
void advise_on_heif(MachineInfo& machine) {
    const std::string decoder = heif_decoder();
    if (decoder.empty())
        machine.advice.push_back("AVIF and HEIC cannot be decoded: install libheif-dev and build again");
    else if (decoder.find("AVIF") == std::string::npos)
        machine.advice.push_back("AVIF cannot be decoded: install libheif-plugin-aomdec");
    else if (decoder.find("HEIC") == std::string::npos)
        machine.advice.push_back("HEIC cannot be decoded: install libheif-plugin-libde265");
}

MachineInfo examine() {
    MachineInfo machine;
    machine.version = ONECYCLE_VERSION;
    machine.cores = static_cast<int>(std::thread::hardware_concurrency());
    const Engine engine = make_engine("cpu", "auto", 0);
    machine.instruction_set = engine.backend->instruction_set();
    machine.devices = {engine.device->name()};
    machine.backends = {{"cpu", true, true, machine.instruction_set}};
    machine.libraries = engine.backend->libraries();
    machine.libraries.emplace_back("jpeg", jpeg_decoder());
    machine.libraries.emplace_back("png", png_decoder());
    machine.libraries.emplace_back("webp", webp_decoder());
    machine.libraries.emplace_back("tiff", tiff_decoder());
    machine.libraries.emplace_back("heif", heif_decoder());
    examine_mpi(machine);
    machine.libraries.emplace_back("archive", shard_reader());
    examine_gpus(machine);
    try {
        machine.devices.push_back(make_engine("emulated", "auto", 0).device->name());
        machine.backends.push_back({"emulated", true, true, ""});
    } catch (const Error&) {  // scripts/build --quick leaves it out
        machine.backends.push_back({"emulated", false, false, "left out", "scripts/build"});
    }

    if (jpeg_decoder().find("turbo") == std::string::npos)
        machine.advice.push_back(
            "JPEG is decoded by stb_image: install libjpeg-dev and build again; it is faster, and decodes "
            "what can be "
            "had of damaged files");
    if (png_decoder().empty())
        machine.advice.push_back("PNG cannot be decoded: install libpng-dev and build again");
    if (webp_decoder().empty())
        machine.advice.push_back("WebP cannot be decoded: install libwebp-dev and build again");
    if (tiff_decoder().empty())
        machine.advice.push_back("TIFF cannot be decoded: install libtiff-dev and build again");
    advise_on_heif(machine);
    if (shard_reader().empty())
        machine.advice.push_back("shards (.tar) cannot be read: install libarchive-dev and build again");
    if (processor_has("amx_tile") && machine.instruction_set.find("amx") == std::string::npos)
        machine.advice.push_back(
            "AMX is advertised and not used: training is in fp32, which it does not speed up, "
            "and on some virtual machines its instructions fault");
    if (!processor_has("avx2")) machine.advice.push_back("this processor has no AVX2: training will be slow");
    return machine;
}

class Doctor : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        declare_console_options(a, console_options_, true);
    }

    int run(const Arguments&, Console& console) override {
        const MachineInfo machine = examine();
        if (console.json()) {
            console.result(to_json(machine));
            return 0;
        }
        const auto row = [&](const char* name, const std::string& text) {
            console.answer(fmt::format("{:<16} {}\n", name, text), 17);
        };
        row("onecycle", machine.version);
        for (const auto& b : machine.backends)
            row("back end", b.name + ": " +
                                (b.ready ? "ready"
                                         : (b.built ? "built, cannot run here: " + b.note
                                                    : b.note + "; to have it: " + b.fix)));
        for (const std::string& device : machine.devices) row("device", device);
        row("instruction set", machine.instruction_set);
        if (const CudaMachine& cuda = machine.cuda; !cuda.toolkit.empty()) {
            row("CUDA", fmt::format("{}, kernels for {}", cuda.toolkit, cuda.architectures));
            row("driver",
                cuda.driver.empty()
                    ? "not found"
                    : fmt::format("{}, knows CUDA {}",
                                  cuda.driver_version.empty() ? "here" : cuda.driver_version, cuda.driver));
        }
        for (const auto& [name, version] : machine.libraries)
            row("library", name + " " + (version.empty() ? "not found" : version));
        for (const std::string& line : machine.advice) row("note", line);
        if (machine.advice.empty()) row("note", "nothing is missing");
        return 0;
    }
};

}  // namespace

std::unique_ptr<Verb> make_doctor() {
    return std::make_unique<Doctor>();
}

}  // namespace onecycle::cli
