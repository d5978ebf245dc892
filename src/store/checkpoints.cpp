#include "store/checkpoints.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/echoed.h"
#include "core/shell_quoted.h"
#include "formats/readers.h"
#include "onecycle/error.h"
#include "store/look.h"
#include "store/run_folders.h"

namespace onecycle {
namespace {

constexpr const char* damaged_ending = ".damaged";
constexpr const char* foreign_ending = ".foreign";

std::int64_t number_in(const std::map<std::string, std::string>& metadata, const char* key) {
    std::int64_t value = -1;
    const auto entry = metadata.find(key);
    if (entry != metadata.end()) {
        std::from_chars(entry->second.data(), entry->second.data() + entry->second.size(), value);
    }
    return value;
}

// What cannot be opened just now may be whole: a link into a disk that is not mounted is no
// checkpoint that is missing.
void refuse_dangling(FileSystem& fs, const std::string& path) {
    FileStatus status;
    if (retried([&] { return fs.entry(path, status); }) == 0)
        throw Error(ErrorKind::io, "cannot read", path, "it is a link that leads nowhere",
                    "mount the disk that it leads to, or delete the link");
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
    const std::string digits = std::to_string(step);
    return "step-" + std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits + ".safetensors";
}

std::string checkpoint_path(const std::string& run, std::int64_t step) {
    return run + "/checkpoints/" + checkpoint_name(step);
}

std::optional<std::int64_t> step_of(std::string_view name) {
    std::int64_t step = -1;
    if (name.starts_with("step-")) std::from_chars(name.data() + 5, name.data() + name.size(), step);
    return step >= 0 && name == checkpoint_name(step) ? std::optional(step) : std::nullopt;
}

std::vector<std::int64_t> steps_in(FileSystem& fs, const std::string& run) {
    std::vector<std::int64_t> steps;
    for (const std::string& name : names_in(fs, run + "/checkpoints")) {
        if (const auto step = step_of(name)) steps.push_back(*step);
    }
    std::sort(steps.rbegin(), steps.rend());
    return steps;
}

Newest find_newest(FileSystem& fs, const std::string& run, const LogSink& log,
                   const CheckpointFilter& belongs) {
    Newest newest;
    std::optional<Newest> of_another;  // the newest that is whole, and does not belong
    const auto take = [](Newest& from, std::int64_t step, const std::string& path, const auto& metadata) {
        from.checkpoint = CheckpointFile{step, path};
        from.best_step = number_in(metadata, "best_step");
        from.finished = number_in(metadata, "steps") == step;
    };
    for (const std::int64_t step : steps_in(fs, run)) {
        const std::string path = checkpoint_path(run, step);
        const auto pass_over = [&](const std::string& why, const char* aside) {
            newest.passed_over.push_back({step, why, aside});
        };
        FileStatus status;
        if (!is_there(fs, path, status)) {
            refuse_dangling(fs, path);
            continue;
        }
        if (status.type != FileStatus::Type::regular) {
            pass_over("it is no regular file", foreign_ending);
            continue;
        }
        try {
            const SafetensorsFile file(path, fs);
            file.verify();
            if (file.digest().empty() || number_in(file.metadata(), "step") != step) {
                throw Error(ErrorKind::model, "cannot use checkpoint", path,
                            "its name or contents were changed");
            }
            if (belongs && !belongs(file.metadata())) {
                if (!of_another) take(of_another.emplace(newest), step, path, file.metadata());
                pass_over("it is of another run", foreign_ending);
                continue;
            }
            take(newest, step, path, file.metadata());
            break;
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::model) throw;
            pass_over(std::string(error.why()), damaged_ending);
        }
    }
    // Where none belongs, the run's own options were changed rather than all its checkpoints: whoever
    // goes on from it says which.
    if (!newest.checkpoint && of_another) newest = std::move(*of_another);
    for (const PassedOver& other : newest.passed_over)
        if (log)
            log(LogLevel::warning,
                "passing over a checkpoint: " + echoed(checkpoint_path(run, other.step)) + ": " + other.why);
    return newest;
}

void refuse_if_all_are_lost(FileSystem& fs, const std::string& run, const Newest& newest) {
    if (newest.checkpoint) return;
    std::string list;
    const auto add = [&](const std::string& name, const std::string& why) {
        list += (list.empty() ? "" : ", ") + echoed(name) + " (" + why + ")";
    };
    for (const PassedOver& file : newest.passed_over) add(checkpoint_name(file.step), file.why);
    for (const std::string& name : names_in(fs, run + "/checkpoints"))
        if (name.find(damaged_ending) != name.npos || name.find(foreign_ending) != name.npos)
            add(name, "set aside before");
    std::string why = "no checkpoint is whole: " + list;
    if (list.empty()) {
        // Written after the first checkpoint, and never deleted.
        FileStatus status;
        if (!is_there(fs, run + "/latest", status) && !is_there(fs, run + "/best", status)) return;
        why = "its checkpoints are gone: 'latest' or 'best' tells that there were some";
    }
    std::string elsewhere = run;
    elsewhere.erase(elsewhere.find_last_not_of('/') + 1);
    throw Error(ErrorKind::model, "cannot resume", run, why,
                "put a good copy of one back, or begin anew elsewhere: onecycle train --config " +
                    shell_quoted(run + "/config.json") + " --out " + shell_quoted(elsewhere + "-anew"));
}

std::optional<CheckpointFile> RunFolders::newest_valid_checkpoint(const std::string& run, const LogSink& log,
                                                                  const CheckpointFilter& belongs) const {
    return find_newest(fs_, run, log, belongs).checkpoint;
}

std::optional<std::string> RunFolders::best_checkpoint(const std::string& run, const LogSink& log) const {
    const std::string pointer = run + "/best";
    FileStatus status;
    if (!is_there(fs_, pointer, status)) return {};
    std::string name;
    if (status.type == FileStatus::Type::regular && status.size <= pointer_limit)
        name = read_file(fs_, pointer, ErrorKind::model, pointer_limit);
    name.erase(name.find_last_not_of('\n') + 1);
    std::string best = run + "/checkpoints/" + name;
    if (step_of(name) && is_there(fs_, best, status) && status.type == FileStatus::Type::regular) return best;
    if (log)
        log(LogLevel::warning,
            "passing over " + echoed(pointer) + ": it does not name a checkpoint; the newest is taken");
    return {};
}

std::string RunFolders::resolve_model(const std::string& path) const {
    constexpr const char* cannot_open = "cannot open model";
    FileStatus status;
    if (!is_there(fs_, path, status)) throw file_error(cannot_open, path, ENOENT, ErrorKind::model);
    if (status.type == FileStatus::Type::regular) return path;
    if (status.type != FileStatus::Type::directory) {
        throw Error(ErrorKind::model, cannot_open, path, "it is not a regular file",
                    "give the path of a file");
    }
    if (const auto best = best_checkpoint(path)) return *best;
    if (const auto newest = newest_valid_checkpoint(path)) return newest->path;
    throw Error(ErrorKind::model, cannot_open, path, "it is a folder without a checkpoint",
                "give a run folder that has one, or a model file");
}

}  // namespace onecycle
