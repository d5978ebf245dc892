#include "onecycle/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/file.h"
#include "onecycle/dataset.h"

namespace onecycle {
namespace {

constexpr const char* lock_name = ".lock";
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

// The names in a folder; none when it is not there.
std::vector<std::string> names_in(FileSystem& fs, const std::string& directory) {
    std::vector<std::string> names;
    const int result = retried([&] { return fs.list(directory, names); });
    if (result < 0 && result != -ENOENT) throw file_error("cannot read folder", directory, -result);
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

struct Newest {
    std::optional<CheckpointFile> checkpoint;
    std::int64_t best_step = -1;
    std::vector<std::int64_t> damaged;  // newer ones
};

std::int64_t number_in(const std::map<std::string, std::string>& metadata, const char* key) {
    std::int64_t value = -1;
    const auto entry = metadata.find(key);
    if (entry != metadata.end()) {
        std::from_chars(entry->second.data(), entry->second.data() + entry->second.size(), value);
    }
    return value;
}

Newest find_newest(FileSystem& fs, const std::string& run, const LogSink& log) {
    Newest newest;
    for (const std::int64_t step : steps_in(fs, run)) {
        const std::string path = checkpoint_path(run, step);
        try {
            const SafetensorsFile file(path, fs);
            file.verify();
            if (file.digest().empty() || number_in(file.metadata(), "step") != step) {
                throw Error(ErrorKind::model, "cannot use checkpoint", path,
                            "its name or contents were changed");
            }
            newest.checkpoint = CheckpointFile{step, path};
            newest.best_step = number_in(file.metadata(), "best_step");
            break;
        } catch (const Error& error) {
            newest.damaged.push_back(step);
            if (log) log(LogLevel::warning, std::string("passing over a checkpoint: ") + error.what());
        }
    }
    return newest;
}

bool is_there(FileSystem& fs, const std::string& path, FileStatus& status) {
    const int result = retried([&] { return fs.status(path, status); });
    if (result < 0 && result != -ENOENT && result != -ENOTDIR) throw file_error("cannot read", path, -result);
    return result == 0;
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

    Impl(FileSystem& fs_, std::string path_, LogSink log_)
        : fs(fs_), path(std::move(path_)), log(std::move(log_)), lock(take_lock(fs, path)) {}
    ~Impl() {
        fs.unlink(path + '/' + lock_name);
        fs.close(lock);
    }

    // A failure to delete costs space, nothing else.
    void remove(const std::string& file, const LogSink& to) {
        const int result = retried([&] { return fs.unlink(file); });
        if (result < 0 && result != -ENOENT && to) {
            to(LogLevel::warning, file_error("cannot delete", file, -result).what());
        }
    }

    void point(const char* pointer, std::int64_t step) {
        const std::string file = path + '/' + pointer;
        const std::string text = checkpoint_name(step) + '\n';
        FileStatus status;
        if (is_there(fs, file, status) && read_file(fs, file) == text) return;
        write_file_atomically(fs, file, text);
    }

    // For an older run: what a process that was killed left behind.
    void clean_up() {
        for (const char* folder : {"", "/checkpoints", "/find"}) {
            for (const std::string& name : names_in(fs, path + folder)) {
                if (name.ends_with(temporary_ending)) remove(path + folder + '/' + name, log);
            }
        }
        const Newest newest = find_newest(fs, path, log);
        for (const std::int64_t step : newest.damaged) {
            const std::string file = checkpoint_path(path, step);
            const int result = retried([&] { return fs.rename(file, file + ".damaged"); });
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
        point("latest", step);
        if (best_step >= 0) point("best", best_step);
        const std::vector<std::int64_t> steps_there = steps_in(fs, path);
        for (std::size_t i = 2; i < steps_there.size(); ++i) {
            const std::int64_t old = steps_there[i];
            if (old != step && old != best_step) remove(checkpoint_path(path, old), to);
        }
    }
};

void RunFolder::check_out(const std::string& path, FileSystem& fs) {
    FileStatus status;
    if (is_there(fs, path, status) && status.type == FileStatus::Type::directory) {
        for (const std::string& name : names_in(fs, path)) {
            if (name != lock_name) refuse_out(path, "it is not empty");
        }
    }
    check_parent(path, fs);
}

void RunFolder::check_parent(const std::string& path, FileSystem& fs) {
    const std::string existing = innermost(fs, path);
    FileStatus status;
    if (is_there(fs, existing, status) && status.type != FileStatus::Type::directory)
        refuse_out(path, "'" + existing + "' is a file");
    const int result = retried([&] { return fs.writable(existing); });
    if (result < 0) throw file_error("cannot use --out", path, -result);
}

void RunFolder::check_space(const std::string& path, std::uint64_t bytes, FileSystem& fs) {
    std::uint64_t free = 0;
    const int result = retried([&] { return fs.free_space(innermost(fs, path), free); });
    if (result < 0) throw file_error("cannot use --out", path, -result);
    if (free < bytes)
        throw Error(ErrorKind::io, "cannot use --out", path,
                    "no space left on the device: checkpoints need " + in_megabytes(bytes) + ", " +
                        in_megabytes(free) + " are free",
                    "free some space or choose a folder on another disk");
}

RunFolder RunFolder::create(const std::string& path, LogSink log, FileSystem& fs) {
    check_out(path, fs);
    std::vector<std::string> folders = missing_folders(fs, path);
    make_directories(fs, path);
    RunFolder run(std::make_unique<Impl>(fs, path, std::move(log)));
    check_out(path, fs);  // another process may have worked in it before we had the lock
    run.impl_->made = std::move(folders);
    run.impl_->is_new = true;
    return run;
}

RunFolder RunFolder::create_numbered(const std::string& parent, const std::string& name, LogSink log,
                                     FileSystem& fs) {
    std::vector<std::string> folders = missing_folders(fs, parent);
    make_directories(fs, parent);
    for (int number = 1;; ++number) {
        std::string path = parent + '/' + name;
        if (number > 1) path += '-' + std::to_string(number);
        const int made = retried([&] { return fs.mkdir(path); });
        if (made == -EEXIST) continue;
        if (made < 0) throw file_error("cannot make folder", path, -made);
        const int synced = retried([&] { return fs.sync_directory(parent); });
        if (synced < 0) throw file_error("cannot make folder", path, -synced);
        RunFolder run(std::make_unique<Impl>(fs, path, std::move(log)));
        folders.insert(folders.begin(), path);
        run.impl_->made = std::move(folders);
        run.impl_->is_new = true;
        return run;
    }
}

RunFolder RunFolder::open(const std::string& path, LogSink log, FileSystem& fs) {
    FileStatus status;
    const auto refuse = [&](const std::string& why) {
        throw Error(ErrorKind::model, "cannot resume", path, why,
                    "give the folder of a run that was started");
    };
    if (!is_there(fs, path, status)) refuse("there is no such folder");
    if (!is_there(fs, path + "/config.json", status)) refuse("it is no run folder (it has no config.json)");
    RunFolder run(std::make_unique<Impl>(fs, path, std::move(log)));
    run.impl_->clean_up();
    return run;
}

RunFolder::RunFolder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RunFolder::~RunFolder() = default;
RunFolder::RunFolder(RunFolder&&) noexcept = default;

bool RunFolder::remove_unless_begun() {
    Impl& run = *impl_;
    FileStatus status;
    const bool logged =
        is_there(run.fs, file("steps.csv"), status) && std::ranges::count(read("steps.csv"), '\n') > 1;
    if (!run.is_new || logged || !steps_in(run.fs, run.path).empty()) return false;
    run.steps.reset();
    run.metrics.reset();
    clear_folder(run.fs, run.path);
    for (const std::string& folder : run.made)
        if (run.fs.rmdir(folder) < 0) break;  // another run may be in it
    return true;
}

FileSystem& RunFolder::file_system() const {
    return impl_->fs;
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
    make_directories(impl_->fs, parent_directory(file(name)));
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
    if (!impl_->steps) impl_->steps.emplace(impl_->fs, file("steps.csv"), header);
    return *impl_->steps;
}

CsvLog& RunFolder::metrics_log(const std::string& header) {
    if (!impl_->metrics) impl_->metrics.emplace(impl_->fs, file("metrics.csv"), header);
    return *impl_->metrics;
}

std::string RunFolder::save(std::int64_t step, const Checkpoint& checkpoint, std::int64_t best_step,
                            const LogSink& log) {
    // The order is the promise: rows, then the checkpoint that counts on them, then what points to
    // it, and only then is anything deleted. Each is durable before the next begins.
    if (impl_->steps) impl_->steps->sync();
    if (impl_->metrics) impl_->metrics->sync();
    std::map<std::string, std::string> metadata = checkpoint.metadata;
    metadata["step"] = std::to_string(step);
    metadata["best_step"] = std::to_string(best_step);
    const std::string file = checkpoint_path(impl_->path, step);
    constexpr std::uint64_t for_small_files = 1 << 20;
    impl_->check_space(file, safetensors_size(file, checkpoint.tensors, metadata) + for_small_files);
    make_directories(impl_->fs, parent_directory(file));
    const std::string digest = write_safetensors(file, checkpoint.tensors, metadata, impl_->fs);
    impl_->update_pointers(step, best_step, log ? log : impl_->log);
    return digest;
}

std::optional<CheckpointFile> newest_valid_checkpoint(const std::string& run, const LogSink& log,
                                                      FileSystem& fs) {
    return find_newest(fs, run, log).checkpoint;
}

std::string resolve_model(const std::string& path, FileSystem& fs) {
    constexpr const char* cannot_open = "cannot open model";
    FileStatus status;
    if (!is_there(fs, path, status)) throw file_error(cannot_open, path, ENOENT, ErrorKind::model);
    if (status.type == FileStatus::Type::regular) return path;
    if (status.type != FileStatus::Type::directory) {
        throw Error(ErrorKind::model, cannot_open, path, "it is not a regular file",
                    "give the path of a file");
    }
    if (is_there(fs, path + "/best", status)) {
        std::string name = read_file(fs, path + "/best", ErrorKind::model);
        name.erase(name.find_last_not_of('\n') + 1);
        const std::string best = path + "/checkpoints/" + name;
        if (step_of(name) && is_there(fs, best, status)) return best;
    }
    if (const auto newest = newest_valid_checkpoint(path, {}, fs)) return newest->path;
    throw Error(ErrorKind::model, cannot_open, path, "it is a folder without a checkpoint",
                "give a run folder that has one, or a model file");
}

}  // namespace onecycle
