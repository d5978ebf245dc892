#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/echoed.h"
#include "formats/readers.h"
#include "formats/safetensors_writer.h"
#include "onecycle/dataset.h"
#include "store/checkpoints.h"
#include "store/look.h"
#include "store/run_folders.h"
#include "store/run_lock.h"
#include "store/run_place.h"

namespace onecycle {
namespace {

// What a run writes stays below its folder: a link inside it, which a run never makes, would lead
// elsewhere.
void refuse_link(FileSystem& fs, const std::string& folder) {
    FileStatus status;
    if (retried([&] { return fs.entry(folder, status); }) == 0 && status.type == FileStatus::Type::link)
        throw Error(ErrorKind::io, "cannot use run folder", folder,
                    "it is a link, which a run does not follow",
                    "put the folder that it leads to in its place");
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

}  // namespace

struct RunFolder::Impl {
    FileSystem& fs;
    std::string path;
    LogSink log;
    int lock;  // -1: it is only read
    std::optional<CsvLog> steps, metrics;
    std::vector<std::string> made;  // folders, innermost first
    bool is_new = false;            // by create() or create_numbered()

    Impl(FileSystem& fs_, std::string path_, LogSink log_, int lock_)
        : fs(fs_), path(std::move(path_)), log(std::move(log_)), lock(lock_) {}
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
                if (to) to(LogLevel::warning, "passing over " + echoed(file) + ": it is a folder");
                return;
            }
            if (status.type == FileStatus::Type::regular && status.size == text.size() &&
                read_file(fs, file, ErrorKind::io, pointer_limit) == text)
                return;
            if (to && (status.type != FileStatus::Type::regular || status.size > pointer_limit))
                to(LogLevel::warning, "replacing " + echoed(file) + ": it did not name a checkpoint");
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

    // For a new run: what a start left that was killed.
    void begin(std::vector<std::string> folders) {
        for (const std::string& name : names_in(fs, path))
            if (name != lock_name) remove(path + '/' + name, log);
        made = std::move(folders);
        is_new = true;
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

RunFolder RunFolders::create(const std::string& path, LogSink log) const {
    check_out(path);
    std::vector<std::string> folders = missing_folders(fs_, path);
    make_directories(fs_, path);
    RunFolder run(std::make_unique<RunFolder::Impl>(fs_, path, std::move(log), take_lock(fs_, path)));
    check_out(path);  // another process may have worked in it before we had the lock
    run.impl_->begin(std::move(folders));
    return run;
}

RunFolder RunFolders::create_numbered(const std::string& parent, const std::string& name, LogSink log) const {
    std::vector<std::string> folders = missing_folders(fs_, parent);
    make_directories(fs_, parent);
    for (int number = 1;; ++number) {
        std::string path = parent + '/' + name;
        if (number > 1) path += '-' + std::to_string(number);
        const int made = retried([&] { return fs_.mkdir(path); });
        if (made < 0 && made != -EEXIST) throw file_error("cannot make folder", path, -made);
        if (made < 0 && !was_left(path)) continue;
        if (made == 0) {
            const int synced = retried([&] { return fs_.sync_directory(parent); });
            if (synced < 0) throw file_error("cannot make folder", path, -synced);
        }
        const int lock = try_lock(fs_, path);
        if (lock < 0) continue;  // another process begins in it
        RunFolder run(std::make_unique<RunFolder::Impl>(fs_, path, log, lock));
        if (!was_left(path)) continue;  // or has worked in it before we had the lock
        if (made == 0) folders.insert(folders.begin(), path);
        run.impl_->begin(std::move(folders));
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
        RunFolder run(std::make_unique<RunFolder::Impl>(fs_, path, log, take_lock(fs_, path)));
        run.impl_->clean_up(belongs);
        return run;
    } catch (const Error& error) {
        // A disk that can only be read holds all that a finished run needs.
        if (error.kind() != ErrorKind::io || fs_.writable(path) == 0 ||
            !find_newest(fs_, path, {}, belongs).finished)
            throw;
    }
    return RunFolder(std::make_unique<RunFolder::Impl>(fs_, path, std::move(log), -1));
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
    return impl_->lock < 0;
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
    if (read_only()) return;
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

}  // namespace onecycle
