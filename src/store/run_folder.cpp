#include <algorithm>
#include <exception>
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

constexpr const char* folders_inside[] = {"/checkpoints", "/find", "/find-unfrozen"};
constexpr const char* config_name = "config.json";
constexpr const char* steps_name = "steps.csv";
constexpr const char* cannot_write_file = "cannot write";
constexpr const char* cannot_save = "cannot save checkpoint";

// What a run writes stays below its folder: a link inside it, which a run never makes, would lead
// elsewhere.
void refuse_link(FileSystem& fs, const std::string& folder) {
    FileStatus status;
    if (retried([&] { return fs.entry(folder, status); }) == 0 && status.type == FileStatus::Type::link)
        throw Error(ErrorKind::io, "cannot use run folder", folder,
                    "it is a link, which a run does not follow",
                    "put the folder that it leads to in its place");
}

// A file replaces a file, or a link; never a folder, a device or a pipe.
void refuse_what_is_no_file(FileSystem& fs, const std::string& file) {
    FileStatus status;
    if (retried([&] { return fs.entry(file, status); }) < 0 || status.type == FileStatus::Type::regular ||
        status.type == FileStatus::Type::link)
        return;
    throw Error(ErrorKind::io, cannot_write_file, file,
                status.type == FileStatus::Type::directory ? "it is a folder" : "it is no regular file",
                "move it away");
}

// The name, or with a number the first that nothing has.
std::string free_name(FileSystem& fs, const std::string& name) {
    FileStatus status;
    std::string free = name;
    for (int number = 2; retried([&] { return fs.entry(free, status); }) == 0; ++number)
        free = name + '-' + std::to_string(number);
    return free;
}

// A file or a folder of files, deleted as far as that can be done; of a link the link alone.
void remove_all(FileSystem& fs, const std::string& path) {
    FileStatus status;
    if (fs.entry(path, status) < 0) return;
    if (status.type != FileStatus::Type::directory) {
        fs.unlink(path);
        return;
    }
    for (const std::string& name : names_in(fs, path)) fs.unlink(path + '/' + name);
    fs.rmdir(path);
}

}  // namespace

// What `latest` and `best` name; a best of -1: none yet.
struct Pointed {
    std::int64_t latest, best;
};

struct RunFolder::Impl {
    FileSystem& fs;
    std::string path;
    LogSink log;
    int lock;  // -1: it is only read
    std::optional<CsvLog> steps, metrics;
    std::vector<std::string> made;     // folders, innermost first: those above it, and it
    std::vector<std::string> written;  // files and folders inside, in the order of their making
    std::string config;                // what config.json holds
    std::optional<Pointed> wrong;      // what the pointers should name, when they could not be written
    bool is_new = false;               // by create() or create_numbered()
    FileId id{};                       // of the folder
    bool tells_apart = false;          // whether the file system tells one file from another

    Impl(FileSystem& fs_, std::string path_, LogSink log_, int lock_)
        : fs(fs_), path(std::move(path_)), log(std::move(log_)), lock(lock_) {
        FileStatus status;
        tells_apart = lock >= 0 && is_locked() && retried([&] { return fs.status(path, status); }) == 0;
        id = status.id;
    }
    ~Impl() {
        if (lock < 0) return;
        if (is_locked()) fs.unlink(path + '/' + lock_name);
        fs.close(lock);
    }

    // True also where it cannot be told.
    bool has(const char* name) const {
        FileStatus status;
        const int result = retried([&] { return fs.status(path + '/' + name, status); });
        return result != -ENOENT && result != -ENOTDIR;
    }

    // By this process, for certain.
    bool is_locked() const { return named(fs, path + '/' + lock_name, lock) == Named::that_file; }

    // Whether it was deleted or moved, another one stands in its place, or another process works in
    // it: its lock is another file. A lock that somebody deleted harms nobody yet. What cannot be
    // told now is told by what fails.
    bool is_lost() const {
        if (!tells_apart) return false;
        const Named found = named(fs, path + '/' + lock_name, lock);
        if (found != Named::nothing) return found == Named::another_file;
        FileStatus status;
        const int result = retried([&] { return fs.status(path, status); });
        return result == 0 ? status.id != id : result == -ENOENT || result == -ENOTDIR;
    }

    void refuse_if_lost(const std::string& what) const {
        if (is_lost())
            throw Error(ErrorKind::io, what, path, "the run folder was moved, or another process works in it",
                        "continue the run where it is now, with --resume");
    }

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

    // Throws what the last of them threw that could not be written.
    void point_to(const Pointed& pointed, const LogSink& to) {
        std::exception_ptr failed;
        for (const auto& [pointer, step] :
             {std::pair{"latest", pointed.latest}, std::pair{"best", pointed.best}}) {
            try {
                if (step >= 0) point(pointer, step, to);
            } catch (const Error&) {
                failed = std::current_exception();
            }
        }
        if (failed) std::rethrow_exception(failed);
    }

    void note(const std::string& file) {
        if (std::ranges::find(written, file) == written.end()) written.push_back(file);
    }

    CsvLog& log_named(std::optional<CsvLog>& rows, const char* name, const std::string& header) {
        if (!rows) {
            note(path + '/' + name);
            rows.emplace(RunFolders(fs).csv_log(path + '/' + name, header));
        }
        return *rows;
    }

    // A folder inside. The run folder itself is not made again when it is gone.
    // Whether it had to be.
    bool make_inside(const std::string& folder) {
        const int result = retried([&] { return fs.mkdir(folder); });
        if (result == -EEXIST) {
            refuse_link(fs, folder);
            return false;
        }
        if (result < 0) throw file_error("cannot make folder", folder, -result);
        const int synced = retried([&] { return fs.sync_directory(parent_directory(folder)); });
        if (synced < 0) throw file_error("cannot make folder", folder, -synced);
        return true;
    }

    // For a new run: what a start left that was killed. Without its lock nothing would tell what
    // this one leaves from somebody's files.
    void begin(std::vector<std::string> folders) {
        const int synced = retried([&] { return fs.sync_directory(path); });
        if (synced < 0) throw file_error("cannot use --out", path, -synced);
        for (const std::string& name : names_in(fs, path))
            if (name != lock_name) remove_all(fs, path + '/' + name);
        made = std::move(folders);
        is_new = true;
    }

    void remove_beginnings(const std::string& folder) {
        for (const std::string& name : names_in(fs, folder))
            if (is_beginning(name) || is_probe(name)) remove(folder + '/' + name, log);
    }

    // For an older run: what a process that was killed left behind.
    void clean_up(const CheckpointFilter& belongs) {
        for (const char* folder : folders_inside) refuse_link(fs, path + folder);
        const Newest newest = find_newest(fs, path, log, belongs);
        refuse_if_all_are_lost(fs, path, newest);
        remove_beginnings(path);
        for (const char* folder : folders_inside) remove_beginnings(path + folder);
        for (const PassedOver& other : newest.passed_over) {
            const std::string file = checkpoint_path(path, other.step);
            const int result = retried([&] { return fs.rename(file, free_name(fs, file + other.ending)); });
            if (result < 0) throw file_error("cannot rename", file, -result);
        }
        if (newest.checkpoint) update_pointers(newest.checkpoint->step, newest.best_step, log);
        wrong.reset();  // nothing was saved yet
    }

    void check_space(const std::string& file, std::uint64_t needed) {
        std::uint64_t free = 0;
        const int result = retried([&] { return fs.free_space(path, free); });
        if (result < 0) throw file_error(cannot_save, file, -result);
        if (free < needed) {
            throw Error(ErrorKind::io, cannot_save, file,
                        "no space left on the device: it needs " + in_megabytes(needed) + ", " +
                            in_megabytes(free) + " are free",
                        "free some space; the checkpoints before it are as they were");
        }
    }

    // What follows a new checkpoint: the pointers, then the deletion of all but the two newest (the
    // second stands in when the first is found damaged) and the best.
    void update_pointers(std::int64_t step, std::int64_t best_step, const LogSink& to) {
        wrong.reset();
        try {
            point_to({step, best_step}, to);
        } catch (const Error& error) {  // a pointer only repeats what the checkpoint says
            if (to) to(LogLevel::warning, error.what());
            wrong = {step, best_step};
        }
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
    if (!is_there(fs_, path + '/' + config_name, status))
        refuse("it is no run folder (it has no config.json)");
    try {
        RunFolder run(std::make_unique<RunFolder::Impl>(fs_, path, log, take_lock(fs_, path)));
        run.impl_->clean_up(belongs);
        run.impl_->config = run.read(config_name);
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
    if (!run.is_new || !run.is_locked()) return false;
    const bool logged =
        is_there(run.fs, file(steps_name), status) && std::ranges::count(read(steps_name), '\n') > 1;
    if (logged || !steps_in(run.fs, run.path).empty()) return false;
    run.steps.reset();
    run.metrics.reset();
    // What somebody else has put there stays, with the folders that hold it. config.json, the first
    // file, goes last but for the lock: a process that is killed here leaves a run, or nothing.
    for (auto path = run.written.rbegin(); path != run.written.rend(); ++path)
        if (run.fs.unlink(*path) < 0) run.fs.rmdir(*path);
    run.fs.unlink(file(lock_name));
    for (const std::string& folder : run.made)
        if (run.fs.rmdir(folder) < 0) break;
    return true;
}

void RunFolder::settle() {
    if (!impl_->wrong) return;
    impl_->refuse_if_lost(cannot_write_file);
    impl_->point_to(*impl_->wrong, impl_->log);
    impl_->wrong.reset();
}

bool RunFolder::is_gone() const {
    return impl_->is_lost() || (!impl_->has(config_name) && !impl_->has(steps_name));
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
    impl_->refuse_if_lost(cannot_write_file);
    for (std::size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1))
        if (const std::string folder = file(name.substr(0, slash)); impl_->make_inside(folder))
            impl_->note(folder);
    impl_->note(file(name));
    refuse_what_is_no_file(impl_->fs, file(name));
    write_file_atomically(impl_->fs, file(name), text);
    if (name == config_name) impl_->config = text;
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
    return impl_->log_named(impl_->steps, steps_name, header);
}

CsvLog& RunFolder::metrics_log(const std::string& header) {
    return impl_->log_named(impl_->metrics, "metrics.csv", header);
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
    impl_->refuse_if_lost(cannot_save);
    impl_->make_inside(parent_directory(file));
    const std::string digest = write_safetensors(file, checkpoint.tensors, metadata, impl_->fs);
    impl_->refuse_if_lost(cannot_save);  // before anything is deleted
    if (!impl_->config.empty() && !impl_->has(config_name)) {
        if (to)
            to(LogLevel::warning, "writing " + echoed(this->file(config_name)) + " again: it was deleted");
        write_file_atomically(impl_->fs, this->file(config_name), impl_->config);
    }
    impl_->update_pointers(step, best_step, to);
    return digest;
}

}  // namespace onecycle
