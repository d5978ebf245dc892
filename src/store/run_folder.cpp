#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/shell_quoted.h"
#include "formats/readers.h"
#include "formats/safetensors_writer.h"
#include "onecycle/dataset.h"
#include "store/run_folders.h"

namespace onecycle {
namespace {

constexpr const char* lock_name = ".lock";
constexpr std::uint64_t pointer_limit = 4096;  // bytes of `latest` and `best`: one name
constexpr const char* ending = ".safetensors";

std::string checkpoint_name(std::int64_t step) {
    const std::string digits = std::to_string(step);
    return "step-" + std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits + ending;
}

// The step of a checkpoint's name; nothing for any other name.
std::optional<std::int64_t> step_of(const std::string& name) {
    std::int64_t step = -1;
    if (name.rfind("step-", 0) == 0) std::from_chars(name.data() + 5, name.data() + name.size(), step);
    return step >= 0 && name == checkpoint_name(step) ? std::optional(step) : std::nullopt;
}

std::string checkpoint_path(const std::string& run, std::int64_t step) {
    return run + "/checkpoints/" + checkpoint_name(step);
}

// What a run writes stays below its folder: a link inside it, which a run never makes, would lead
// elsewhere.
void refuse_link(FileSystem& fs, const std::string& folder) {
    FileStatus status;
    if (retried([&] { return fs.entry(folder, status); }) == 0 && status.type == FileStatus::Type::link)
        throw Error(ErrorKind::io, "cannot use run folder", folder,
                    "it is a link, which a run does not follow",
                    "put the folder that it leads to in its place");
}

// The names in a folder; none when it is not there.
std::vector<std::string> names_in(FileSystem& fs, const std::string& directory) {
    std::vector<std::string> names;
    const int result = retried([&] { return fs.list(directory, names); });
    if (result < 0 && result != -ENOENT && result != -ENOTDIR)
        throw file_error("cannot read folder", directory, -result);
    return names;
}

// The steps of all checkpoints, highest first.
std::vector<std::int64_t> steps_in(FileSystem& fs, const std::string& run) {
    std::vector<std::int64_t> steps;
    for (const std::string& name : names_in(fs, run + "/checkpoints")) {
        if (const auto step = step_of(name)) steps.push_back(*step);
    }
    std::sort(steps.rbegin(), steps.rend());
    return steps;
}

constexpr const char* damaged_ending = ".damaged";
constexpr const char* foreign_ending = ".foreign";

// A checkpoint's name that is not used, and the ending that it gets when it is set aside.
struct PassedOver {
    std::int64_t step;
    std::string why;
    const char* ending;
};

struct Newest {
    std::optional<CheckpointFile> checkpoint;
    std::int64_t best_step = -1;
    bool finished = false;
    std::vector<PassedOver> passed_over;  // newer ones
};

std::int64_t number_in(const std::map<std::string, std::string>& metadata, const char* key) {
    std::int64_t value = -1;
    const auto entry = metadata.find(key);
    if (entry != metadata.end()) {
        std::from_chars(entry->second.data(), entry->second.data() + entry->second.size(), value);
    }
    return value;
}

bool is_there(FileSystem& fs, const std::string& path, FileStatus& status) {
    const int result = retried([&] { return fs.status(path, status); });
    if (result < 0 && result != -ENOENT && result != -ENOTDIR) throw file_error("cannot read", path, -result);
    return result == 0;
}

// The cause alone, of an error that names this file.
std::string why_of(const Error& error, const std::string& path) {
    std::string text = error.what();
    if (const std::size_t fix = text.rfind("; fix: "); fix != std::string::npos) text.resize(fix);
    const std::string where = printable(path) + ": ";
    const std::size_t at = text.find(where);
    return at == std::string::npos ? text : text.substr(at + where.size());
}

// Throws Error(io) when one of those that come in question cannot be read: it may be the newest.
Newest find_newest(FileSystem& fs, const std::string& run, const LogSink& log,
                   const CheckpointFilter& belongs = {}) {
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
        if (!is_there(fs, path, status) || status.type != FileStatus::Type::regular) {
            pass_over("it is no regular file", foreign_ending);
            continue;
        }
        try {
            const SafetensorsFile file(path, fs);
            file.verify();
            if (file.digest().empty() || number_in(file.metadata(), "step") != step) {
                throw Error(ErrorKind::model, "cannot use checkpoint", printable(path),
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
            pass_over(why_of(error, path), damaged_ending);
        }
    }
    // Where none belongs, the run's own options were changed rather than all its checkpoints: whoever
    // goes on from it says which.
    if (!newest.checkpoint && of_another) newest = std::move(*of_another);
    for (const PassedOver& other : newest.passed_over)
        if (log)
            log(LogLevel::warning, "passing over a checkpoint: " +
                                       printable(checkpoint_path(run, other.step)) + ": " + other.why);
    return newest;
}

// A resume without any good checkpoint would begin anew, over the logs of the run that was lost.
void refuse_if_all_damaged(FileSystem& fs, const std::string& run, const Newest& newest) {
    if (newest.checkpoint) return;
    std::string list;
    const auto add = [&](const std::string& name, const std::string& why) {
        list += (list.empty() ? "" : ", ") + printable(name) + " (" + why + ")";
    };
    bool damaged = false;
    for (const PassedOver& file : newest.passed_over) {
        damaged |= file.ending == damaged_ending;
        add(checkpoint_name(file.step), file.why);
    }
    for (const std::string& name : names_in(fs, run + "/checkpoints")) {
        if (!name.ends_with(damaged_ending)) continue;
        damaged = true;
        add(name, "set aside before");
    }
    if (!damaged) return;
    std::string elsewhere = run;
    elsewhere.erase(elsewhere.find_last_not_of('/') + 1);
    throw Error(ErrorKind::model, "cannot resume", printable(run), "no checkpoint is whole: " + list,
                "put a good copy of one back, or begin anew elsewhere: onecycle train --config " +
                    shell_quoted(run + "/config.json") + " --out " + shell_quoted(elsewhere + "-anew"));
}

// Whether the file of that name is the one that this process has locked and named itself in.
bool holds(FileSystem& fs, const std::string& path, const std::string& holder) {
    try {
        return read_file(fs, path) == holder;
    } catch (const Error&) {
        return false;
    }
}

int take_lock(FileSystem& fs, const std::string& run, int tries = 100) {
    const std::string path = run + '/' + lock_name;
    const int file = retried([&] { return fs.open_update(path); });
    if (file < 0) throw file_error("cannot use run folder", run, -file);
    const int locked = retried([&] { return fs.lock(file); });
    if (locked < 0) {
        fs.close(file);
        if (locked != -EWOULDBLOCK) throw file_error("cannot lock run folder", run, -locked);
        std::string holder = read_file(fs, path);
        throw Error(ErrorKind::io, "cannot use run folder", run, "process " + holder + " works in it",
                    "wait until it ends, or start a run in another folder");
    }
    // Who holds it is told for the message, and to know the file again: failing to write it does no
    // harm.
    const std::string holder = std::to_string(::getpid());
    fs.truncate(file, 0);
    fs.write_at(file, std::as_bytes(std::span(holder)), 0);
    // Who held it before deletes it when done, perhaps just after it was opened here.
    if (tries == 0 || holds(fs, path, holder)) return file;
    fs.close(file);
    return take_lock(fs, run, tries - 1);
}

// The innermost of `path` and the folders above it that is there.
std::string innermost(FileSystem& fs, const std::string& path) {
    FileStatus status;
    std::string existing = path;
    while (!is_there(fs, existing, status) && parent_directory(existing) != existing)
        existing = parent_directory(existing);
    return existing;
}

// The folders of `path` that are not there yet, innermost first: `path` itself, then those above
// it.
std::vector<std::string> missing_folders(FileSystem& fs, const std::string& path) {
    std::vector<std::string> missing;
    FileStatus status;
    for (std::string at = path; !is_there(fs, at, status) && parent_directory(at) != at;
         at = parent_directory(at))
        missing.push_back(at);
    return missing;
}

// What is in a folder, deleted as far as that can be done.
void clear_folder(FileSystem& fs, const std::string& folder) {
    for (const std::string& name : names_in(fs, folder)) {
        const std::string path = folder + '/' + name;
        FileStatus status;
        if (fs.status(path, status) == 0 && status.type == FileStatus::Type::directory) {
            clear_folder(fs, path);
            fs.rmdir(path);
        } else {
            fs.unlink(path);
        }
    }
}

// What a run leaves that is killed before its first file is whole: the lock, the probe whether the
// folder can be written, and that file's beginning.
bool is_leftover(std::string_view name) {
    if (name == lock_name) return true;
    const auto all_of = [](std::string_view text, std::string_view allowed) {
        return !text.empty() && text.find_first_not_of(allowed) == text.npos;
    };
    constexpr std::string_view probe = ".onecycle-", digits = "0123456789";
    if (name.starts_with(probe)) return all_of(name.substr(probe.size()), "0123456789-");
    if (!name.ends_with(temporary_ending)) return false;
    name.remove_suffix(temporary_ending.size());
    for (const std::string_view first : {"config.json", "find.json", "find.csv", bad_images_name}) {
        if (!name.starts_with(first)) continue;
        const std::string_view rest = name.substr(first.size());  // empty, or the attempt's number
        if (rest.empty() || (rest[0] == '.' && all_of(rest.substr(1), digits))) return true;
    }
    return false;
}

[[noreturn]] void refuse_out(const std::string& path, const std::string& why) {
    throw Error(ErrorKind::io, "cannot use --out", path, why, "choose a folder that is new or empty");
}

std::string in_megabytes(std::uint64_t bytes) {
    return std::to_string((bytes + 999'999) / 1'000'000) + " MB";
}

}  // namespace

struct RunFolder::Impl {
    FileSystem& fs;
    std::string path;
    LogSink log;
    int lock = -1;
    std::optional<CsvLog> steps, metrics;
    std::vector<std::string> made;  // folders, innermost first
    bool is_new = false;            // by create() or create_numbered()

    bool read_only = false;

    Impl(FileSystem& fs_, std::string path_, LogSink log_, bool read_only_ = false)
        : fs(fs_), path(std::move(path_)), log(std::move(log_)), read_only(read_only_) {
        if (!read_only) lock = take_lock(fs, path);
    }
    ~Impl() {
        if (lock < 0) return;
        if (is_ours()) fs.unlink(path + '/' + lock_name);
        fs.close(lock);
    }

    // Another folder may stand where this one was.
    bool is_ours() const { return holds(fs, path + '/' + lock_name, std::to_string(::getpid())); }

    // A failure to delete costs space, nothing else.
    void remove(const std::string& file, const LogSink& to) {
        const int result = retried([&] { return fs.unlink(file); });
        if (result < 0 && result != -ENOENT && to) {
            to(LogLevel::warning, file_error("cannot delete", file, -result).what());
        }
    }

    // Whatever has the pointer's name is replaced, but for a folder: that costs a pointer, and no
    // checkpoint.
    void point(const char* pointer, std::int64_t step, const LogSink& to) {
        const std::string file = path + '/' + pointer;
        const std::string text = checkpoint_name(step) + '\n';
        FileStatus status;
        if (is_there(fs, file, status)) {
            if (status.type == FileStatus::Type::directory) {
                if (to) to(LogLevel::warning, "passing over " + printable(file) + ": it is a folder");
                return;
            }
            if (status.type == FileStatus::Type::regular && status.size == text.size() &&
                read_file(fs, file, ErrorKind::io, pointer_limit) == text)
                return;
            if (to && (status.type != FileStatus::Type::regular || status.size > pointer_limit))
                to(LogLevel::warning, "replacing " + printable(file) + ": it did not name a checkpoint");
        }
        write_file_atomically(fs, file, text);
    }

    // A folder inside. The run folder itself is not made again when it is gone.
    void make_inside(const std::string& folder) {
        const int result = retried([&] { return fs.mkdir(folder); });
        if (result == -EEXIST) return refuse_link(fs, folder);
        if (result < 0) throw file_error("cannot make folder", folder, -result);
        const int synced = retried([&] { return fs.sync_directory(parent_directory(folder)); });
        if (synced < 0) throw file_error("cannot make folder", folder, -synced);
    }

    // For an older run: what a process that was killed left behind.
    void clean_up(const CheckpointFilter& belongs) {
        for (const char* folder : {"/checkpoints", "/find"}) refuse_link(fs, path + folder);
        const Newest newest = find_newest(fs, path, log, belongs);
        refuse_if_all_damaged(fs, path, newest);
        for (const char* folder : {"", "/checkpoints", "/find"}) {
            for (const std::string& name : names_in(fs, path + folder)) {
                const bool left =
                    name.ends_with(temporary_ending) || (is_leftover(name) && name != lock_name);
                if (left) remove(path + folder + '/' + name, log);
            }
        }
        for (const PassedOver& other : newest.passed_over) {
            const std::string file = checkpoint_path(path, other.step);
            const int result = retried([&] { return fs.rename(file, file + other.ending); });
            if (result < 0) throw file_error("cannot rename", file, -result);
        }
        if (newest.checkpoint) update_pointers(newest.checkpoint->step, newest.best_step, log);
    }

    void check_space(const std::string& file, std::uint64_t needed) {
        std::uint64_t free = 0;
        const int result = retried([&] { return fs.free_space(path, free); });
        if (result < 0) throw file_error("cannot save checkpoint", file, -result);
        if (free < needed) {
            throw Error(ErrorKind::io, "cannot save checkpoint", file,
                        "no space left on the device: it needs " + in_megabytes(needed) + ", " +
                            in_megabytes(free) + " are free",
                        "free some space; the checkpoints before it are as they were");
        }
    }

    // What follows a new checkpoint: the pointers, then the deletion of all but the two newest (the
    // second stands in when the first is found damaged) and the best.
    void update_pointers(std::int64_t step, std::int64_t best_step, const LogSink& to) {
        point("latest", step, to);
        if (best_step >= 0) point("best", best_step, to);
        const std::vector<std::int64_t> steps_there = steps_in(fs, path);
        for (std::size_t i = 2; i < steps_there.size(); ++i) {
            const std::int64_t old = steps_there[i];
            if (old != step && old != best_step) remove(checkpoint_path(path, old), to);
        }
    }
};

void RunFolders::check_out(const std::string& path) const {
    FileStatus status;
    if (is_there(fs_, path, status) && status.type == FileStatus::Type::directory && !is_unused(path))
        refuse_out(path, "it is not empty");
    check_parent(path);
}

bool RunFolders::is_unused(const std::string& path) const {
    return std::ranges::all_of(names_in(fs_, path), is_leftover);
}

void RunFolders::check_parent(const std::string& path) const {
    const std::string existing = innermost(fs_, path);
    FileStatus status;
    if (is_there(fs_, existing, status) && status.type != FileStatus::Type::directory)
        refuse_out(path, "'" + existing + "' is a file");
    const int result = retried([&] { return fs_.writable(existing); });
    if (result < 0) throw file_error("cannot use --out", path, -result);
}

void RunFolders::check_space(const std::string& path, std::uint64_t bytes) const {
    std::uint64_t free = 0;
    const int result = retried([&] { return fs_.free_space(innermost(fs_, path), free); });
    if (result < 0) throw file_error("cannot use --out", path, -result);
    if (free < bytes)
        throw Error(ErrorKind::io, "cannot use --out", path,
                    "no space left on the device: checkpoints need " + in_megabytes(bytes) + ", " +
                        in_megabytes(free) + " are free",
                    "free some space or choose a folder on another disk");
}

RunFolder RunFolders::create(const std::string& path, LogSink log) const {
    check_out(path);
    std::vector<std::string> folders = missing_folders(fs_, path);
    make_directories(fs_, path);
    RunFolder run(std::make_unique<RunFolder::Impl>(fs_, path, std::move(log)));
    check_out(path);  // another process may have worked in it before we had the lock
    for (const std::string& name : names_in(fs_, path))
        if (name != lock_name) run.impl_->remove(path + '/' + name, run.impl_->log);
    run.impl_->made = std::move(folders);
    run.impl_->is_new = true;
    return run;
}

RunFolder RunFolders::create_numbered(const std::string& parent, const std::string& name, LogSink log) const {
    std::vector<std::string> folders = missing_folders(fs_, parent);
    make_directories(fs_, parent);
    for (int number = 1;; ++number) {
        std::string path = parent + '/' + name;
        if (number > 1) path += '-' + std::to_string(number);
        const int made = retried([&] { return fs_.mkdir(path); });
        if (made == -EEXIST) continue;
        if (made < 0) throw file_error("cannot make folder", path, -made);
        const int synced = retried([&] { return fs_.sync_directory(parent); });
        if (synced < 0) throw file_error("cannot make folder", path, -synced);
        RunFolder run(std::make_unique<RunFolder::Impl>(fs_, path, std::move(log)));
        folders.insert(folders.begin(), path);
        run.impl_->made = std::move(folders);
        run.impl_->is_new = true;
        return run;
    }
}

RunFolder RunFolders::open(const std::string& path, LogSink log, const CheckpointFilter& belongs) const {
    FileStatus status;
    const auto refuse = [&](const std::string& why) {
        throw Error(ErrorKind::model, "cannot resume", path, why,
                    "give the folder of a run that was started");
    };
    if (!is_there(fs_, path, status)) refuse("there is no such folder");
    if (!is_there(fs_, path + "/config.json", status)) refuse("it is no run folder (it has no config.json)");
    try {
        RunFolder run(std::make_unique<RunFolder::Impl>(fs_, path, log));
        run.impl_->clean_up(belongs);
        return run;
    } catch (const Error& error) {
        // A disk that can only be read holds all that a finished run needs.
        if (error.kind() != ErrorKind::io || fs_.writable(path) == 0 ||
            !find_newest(fs_, path, {}, belongs).finished)
            throw;
    }
    return RunFolder(std::make_unique<RunFolder::Impl>(fs_, path, std::move(log), true));
}

RunFolder::RunFolder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RunFolder::~RunFolder() = default;
RunFolder::RunFolder(RunFolder&&) noexcept = default;

bool RunFolder::remove_unless_begun() {
    Impl& run = *impl_;
    FileStatus status;
    if (!run.is_new || !run.is_ours()) return false;
    const bool logged =
        is_there(run.fs, file("steps.csv"), status) && std::ranges::count(read("steps.csv"), '\n') > 1;
    if (logged || !steps_in(run.fs, run.path).empty()) return false;
    run.steps.reset();
    run.metrics.reset();
    clear_folder(run.fs, run.path);
    for (const std::string& folder : run.made)
        if (run.fs.rmdir(folder) < 0) break;  // another run may be in it
    return true;
}

bool RunFolder::is_gone() const {
    FileStatus status;
    // Another folder in its place has no such file. What cannot be told now is told by what fails.
    const int result = retried([&] { return impl_->fs.status(file("config.json"), status); });
    return result == -ENOENT || result == -ENOTDIR;
}

bool RunFolder::read_only() const {
    return impl_->read_only;
}

FileSystem& RunFolders::file_system_of(const RunFolder& run) {
    return run.impl_->fs;
}

const std::string& RunFolder::path() const {
    return impl_->path;
}
std::string RunFolder::file(const std::string& name) const {
    return impl_->path + '/' + name;
}

std::string RunFolder::checkpoint_file(std::int64_t step) const {
    return checkpoint_path(impl_->path, step);
}

void RunFolder::write(const std::string& name, const std::string& text) {
    if (impl_->read_only) return;
    for (std::size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1))
        impl_->make_inside(file(name.substr(0, slash)));
    write_file_atomically(impl_->fs, file(name), text);
}

std::string RunFolder::read(const std::string& name) const {
    return read_file(impl_->fs, file(name), ErrorKind::model);
}

void RunFolder::write_bad_images(const std::vector<BadImage>& bad) {
    std::string text;
    for (const BadImage& image : bad) text += printable(image.path) + '\t' + printable(image.reason) + '\n';
    write(bad_images_name, text);
}

CsvLog& RunFolder::steps_log(const std::string& header) {
    if (!impl_->steps) impl_->steps.emplace(RunFolders(impl_->fs).csv_log(file("steps.csv"), header));
    return *impl_->steps;
}

CsvLog& RunFolder::metrics_log(const std::string& header) {
    if (!impl_->metrics) impl_->metrics.emplace(RunFolders(impl_->fs).csv_log(file("metrics.csv"), header));
    return *impl_->metrics;
}

std::string RunFolder::save(std::int64_t step, const Checkpoint& checkpoint, std::int64_t best_step,
                            const LogSink& log) {
    // The order is the promise: rows, then the checkpoint that counts on them, then what points to
    // it, and only then is anything deleted. Each is durable before the next begins. Rows that
    // cannot be made durable are no reason to lose the state, which needs none of them.
    const LogSink& to = log ? log : impl_->log;
    for (std::optional<CsvLog>* rows : {&impl_->steps, &impl_->metrics}) {
        try {
            if (*rows) (*rows)->sync();
        } catch (const Error& error) {
            if (to) to(LogLevel::warning, error.what());
        }
    }
    std::map<std::string, std::string> metadata = checkpoint.metadata;
    metadata["step"] = std::to_string(step);
    metadata["best_step"] = std::to_string(best_step);
    const std::string file = checkpoint_path(impl_->path, step);
    constexpr std::uint64_t for_small_files = 1 << 20;
    impl_->check_space(file, safetensors_size(file, checkpoint.tensors, metadata) + for_small_files);
    impl_->make_inside(parent_directory(file));
    const std::string digest = write_safetensors(file, checkpoint.tensors, metadata, impl_->fs);
    impl_->update_pointers(step, best_step, to);
    return digest;
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
            "passing over " + printable(pointer) + ": it does not name a checkpoint; the newest is taken");
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
