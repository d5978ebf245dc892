// Finds and opens the MPI module, where a launcher has started the program more than once.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <span>
#include <system_error>
#include <vector>

#include "device/communicator.h"
#include "device/launched_rank.h"
#include "device/mpi_module.h"
#include "onecycle/error.h"
#include "rules/sum_order.h"

namespace onecycle {

namespace {

constexpr const char* module_file = "onecycle_mpi.so";
constexpr const char* module_fix = "install libopenmpi-dev and openmpi-bin and build again";

// What a launcher tells each process that it starts: how many there are. The innermost comes first:
// mpirun may run inside a step of Slurm's.
struct Launched {
    std::string by;  // "OMPI_COMM_WORLD_SIZE=4"
    int ranks = 0;   // 0: it does not say
};
std::optional<Launched> launched() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
        if (const char* value = std::getenv(name))
            return Launched{std::string(name) + "=" + value, std::atoi(value)};
    if (const char* value = std::getenv("PMIX_RANK")) return Launched{std::string("PMIX_RANK=") + value, 0};
    return {};
}

std::string folder_of_program() {
    std::error_code none;
    return std::filesystem::read_symlink("/proc/self/exe", none).parent_path().string();
}

// Empty: it is nowhere.
std::string find_module() {
    if (const char* named = std::getenv("ONECYCLE_MPI_MODULE"); named && *named) return named;
    const std::string program = folder_of_program();
    for (const std::string& folder :
         {program, program + "/" ONECYCLE_MODULES_FROM_PROGRAM, std::string(ONECYCLE_MODULES)}) {
        std::string file = folder + "/" + module_file;
        if (access(file.c_str(), R_OK) == 0) return file;
    }
    return "";
}

struct Module {
    OnecycleMpiLibrary* library = nullptr;
    OnecycleOpenMpi* open = nullptr;
    std::string why;  // it cannot be used; empty: it can
};

// MPI's own plug-ins look for its functions among those that all may see.
Module open_module(const std::string& file) {
    Module module;
    void* const handle = dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (!handle) {
        module.why = dlerror();
        return module;
    }
    module.library = reinterpret_cast<OnecycleMpiLibrary*>(dlsym(handle, "onecycle_mpi_library"));
    module.open = reinterpret_cast<OnecycleOpenMpi*>(dlsym(handle, "onecycle_open_mpi"));
    if (!module.library || !module.open)
        module.why = "it is not onecycle's";
    else if (!module.library(MpiHost::current_version))
        module.why = "it belongs to another version of onecycle";
    return module;
}

// A number in the environment, not below `least`.
double number_of(const char* name, double otherwise, double least) {
    const char* text = std::getenv(name);
    if (!text || !*text) return otherwise;
    char* end = nullptr;
    const double value = std::strtod(text, &end);
    if (*end == '\0' && value >= least && value <= 1e9) return value;
    throw Error(ErrorKind::usage, "environment variable not usable", std::string(name) + "=" + text,
                "it is not a number from " + std::to_string(static_cast<int>(least)) + " to 1000000000",
                "correct or unset it");
}

void write_line(const std::string& line) noexcept {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, line.data(), line.size());
}

[[noreturn]] void fail(const char* function, const std::string& why) {
    throw Error(ErrorKind::device, "the ranks cannot talk to each other", function, why,
                "see what the launcher says; a rank may have ended, or the network between the hosts failed");
}

void say_lost(int rank, const std::string& host, const std::string& why) noexcept {
    const Error error(ErrorKind::device, "a rank is lost", "rank " + std::to_string(rank) + " on " + host,
                      why,
                      "look after that host, then start again: --resume goes on from the last checkpoint");
    write_line(std::string("error: ") + error.what() + "\n");
}

void warn(const std::string& line) noexcept {
    write_line("warning: " + line + "\n");
}

}  // namespace

int launched_rank() {
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"})
        if (const char* value = std::getenv(name)) return std::atoi(value);
    const char* const step = std::getenv("SLURM_PROCID");  // 0 in a job's script, outside of a step
    return step ? std::atoi(step) : 0;
}

std::unique_ptr<Communicator> join_ranks() {
    const std::optional<Launched> job = launched();
    if (!job || job->ranks == 1) return nullptr;
    const auto refuse = [&](const std::string& why, const std::string& fix) {
        throw Error(ErrorKind::device, "cannot join the other ranks", job->by, why, fix);
    };
    const std::string file = find_module();
    if (file.empty()) refuse(std::string(module_file) + " is not here: it was built without MPI", module_fix);
    const Module module = open_module(file);
    if (!module.why.empty()) refuse("cannot open " + file + ": " + module.why, module_fix);

    MpiHost host{.fail = fail, .say_lost = say_lost, .warn = warn};
    host.patience = number_of("ONECYCLE_RANK_TIMEOUT", 20, 0);
    host.message = static_cast<std::size_t>(number_of("ONECYCLE_MPI_MESSAGE", 1 << 30, 1));
    std::unique_ptr<Communicator> ranks(module.open(host));
    if (ranks->place().ranks > 1) return ranks;
    ranks->finish();
    if (job->ranks > 1)
        refuse(ranks->name() + " sees one rank: another MPI's launcher started it",
               "use the mpirun of " + ranks->name() + ", or srun --mpi=pmix");
    return nullptr;
}

bool groups_share_machines(Communicator& ranks) {
    const auto levels = static_cast<int>(number_of("ONECYCLE_EXCHANGE_LEVELS", 2, 1));
    const std::int32_t own = levels > 1 ? ranks.place().node : -1;
    std::vector<std::int32_t> nodes(static_cast<std::size_t>(ranks.place().ranks));
    ranks.all_gather(std::as_bytes(std::span(&own, 1)), reinterpret_cast<std::byte*>(nodes.data()));
    if (!are_whole_groups(ranks.place().ranks)) return false;
    for (std::size_t r = 0; r < nodes.size(); ++r)
        if (nodes[r] < 0 || nodes[r] != nodes[r - r % summed_group]) return false;
    return true;
}

RanksSupport ranks_support() {
    RanksSupport support{.module = find_module(), .library = "", .missing = ""};
    if (support.module.empty()) {
        support.missing = std::string("built without MPI: ") + module_fix;
        return support;
    }
    const Module module = open_module(support.module);
    if (module.why.empty())
        support.library = module.library(MpiHost::current_version);
    else
        support.missing = "cannot open " + support.module + ": " + module.why + ": " + module_fix;
    return support;
}

}  // namespace onecycle
