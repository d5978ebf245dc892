// onecycle doctor: what this build and this machine can do, and what to install.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "cli/json.h"
#include "cli/verb.h"
#include "onecycle/error.h"
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

MachineInfo examine() {
    MachineInfo machine;
    machine.version = ONECYCLE_VERSION;
    machine.cores = static_cast<int>(std::thread::hardware_concurrency());
    const Engine engine = make_engine("cpu", "auto", 0);
    machine.instruction_set = engine.backend->instruction_set();
    machine.devices = {engine.device->name()};
    machine.backends = {{"cpu", true, machine.instruction_set}};
    for (const char* name : {"cuda", "emulated"}) {
        try {
            machine.devices.push_back(make_engine(name, "auto", 0).device->name());
            machine.backends.push_back({name, true, ""});
        } catch (const Error& error) {
            machine.backends.push_back({name, false, "not in this build"});
        }
    }
    machine.libraries = engine.backend->libraries();
    machine.libraries.emplace_back("jpeg", jpeg_decoder());

    if (jpeg_decoder().find("turbo") == std::string::npos)
        machine.advice.push_back(
            "JPEG is decoded by stb_image: install libturbojpeg0-dev and build again, it is faster");
    if (processor_has("amx_tile") && machine.instruction_set.find("amx") == std::string::npos)
        machine.advice.push_back(
            "AMX is advertised and not used: training is in fp32, which it does not speed up, "
            "and on some virtual machines its instructions fault");
    if (!processor_has("avx2")) machine.advice.push_back("this processor has no AVX2: training will be slow");
    if (std::filesystem::exists("/proc/driver/nvidia/version") && !machine.backends[1].built)
        machine.advice.push_back("an NVIDIA driver is here, and this build trains on the CPU only");
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
            console.result(fmt::format("{:<16} {}\n", name, text));
        };
        row("onecycle", machine.version);
        for (const auto& b : machine.backends)
            row("back end", fmt::format("{}: {}", b.name, b.built ? "ready" : b.note));
        for (const std::string& device : machine.devices) row("device", device);
        row("instruction set", machine.instruction_set);
        for (const auto& [name, version] : machine.libraries) row("library", name + " " + version);
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
