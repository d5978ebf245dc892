// A run folder: what `train` and `finetune` write, what `--resume` continues and `eval` and
// `predict` read.
//
//     config.json                            every option, resolved
//     steps.csv, metrics.csv                 logs, append-only
//     checkpoints/step-NNNNNN.safetensors    N = updates done; the highest is the newest state
//     latest, best                           text: the name of a checkpoint
//     bad-images.txt                         the images that were left out, when there are any
//
// A crash, a full disk or a kill at any moment leaves a checkpoint to continue from: a checkpoint
// appears under its name complete and durable or not at all, the pointers follow, and old ones are
// deleted last. The pointers only repeat what the newest checkpoint says of itself (its metadata
// carries `step` and `best_step`), so open() can put them right.
//
// Damaged is only what was read whole and found wrong. A checkpoint that cannot be read just now is
// Error(io), and nothing is touched.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "onecycle/log.h"
#include "onecycle/tensor_file.h"

namespace onecycle {

struct BadImage;
class RunFolders;

// The whole state of a training: tensors by name, everything else as text. Nothing that differs
// between equal runs (no time, host or path) may stand in it, so that equal runs give equal bytes.
struct Checkpoint {
    std::vector<TensorSource> tensors;
    std::map<std::string, std::string> metadata;  // `step` and `best_step` are added by save()
};

// Whether a checkpoint with this metadata belongs to a run; empty: every one does.
using CheckpointFilter = std::function<bool(const std::map<std::string, std::string>& metadata)>;

// A checkpoint's place among the others.
struct CheckpointFile {
    std::int64_t step = 0;  // updates done
    std::string path;
};

// A CSV log. A row is in the file when append() returns (it survives a kill), and on the disk after
// the next RunFolder::save(). Write the rows before the checkpoint that follows them.
class CsvLog {
  public:
    ~CsvLog();
    CsvLog(CsvLog&&) noexcept;

    // `row` has no line end. When it cannot be written whole, nothing of it stays in the file, and
    // Error(io) is thrown; the next append() writes it first.
    void append(const std::string& row);
    // Writes the rows that could not be written yet. Throws as append().
    void catch_up();

    // Drops the first row whose first column is `limit` or more, or no more than that of the row
    // before, and all after it. Returns the number of rows that stay.
    std::int64_t keep_below(std::int64_t limit);

    void sync();

  private:
    friend class RunFolders;
    struct Impl;
    explicit CsvLog(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

inline constexpr const char* bad_images_name = "bad-images.txt";

class RunFolder {
  public:
    // Whether `--out path` could be created: Error(io) when it is there and not empty, or not
    // writable. What a run leaves that was killed before its first file was whole does not count.
    // Changes nothing, so that a bad option is found before any work.
    static void check_out(const std::string& path);

    // Whether it is a folder that holds nothing, or only what such a killed run leaves.
    static bool is_unused(const std::string& path);

    // The same for a folder that may hold others already: what create_numbered() makes one in.
    static void check_parent(const std::string& path);

    // Error(io) when the disk that holds (or would hold) `path` has less than `bytes` to give: a
    // run that could not save is better not begun.
    static void check_space(const std::string& path, std::uint64_t bytes);

    // Makes the folder named by --out. Throws as check_out().
    static RunFolder create(const std::string& path, LogSink log = {});

    // Makes parent/name, or parent/name-2, … : the first that is not there, or that is_unused().
    static RunFolder create_numbered(const std::string& parent, const std::string& name, LogSink log = {});

    // Opens a folder to continue its run: removes what a killed process left, and puts the pointers
    // right. Checkpoints newer than the newest good one are renamed: damaged ones to NAME.damaged,
    // what is no file or not of this run to NAME.foreign. Throws Error(model) when it is no run
    // folder (has no config.json) or nothing of what it saved can be used, Error(io) when another
    // process works in it or a checkpoint cannot be read. A finished run may lie on a disk that can
    // only be read: see read_only().
    static RunFolder open(const std::string& path, LogSink log = {}, const CheckpointFilter& belongs = {});

    ~RunFolder();  // whoever comes next may work in it
    RunFolder(RunFolder&&) noexcept;

    // Leaves the place as create() or create_numbered() found it, where no update was logged and
    // nothing saved: a run that never began is no run. Files of others in it stay. Whether it did.
    bool remove_unless_begun();

    // Whether the folder is no longer where it was, deleted or moved, or another process has taken it
    // over.
    bool is_gone() const;

    // A finished run whose folder cannot be written: write() does nothing, and logs and checkpoints
    // are not to be written.
    bool read_only() const;

    const std::string& path() const;
    std::string file(const std::string& name) const;       // path of a file inside
    std::string checkpoint_file(std::int64_t step) const;  // of the checkpoint after `step` updates

    // At the end, when no save is on its way: writes the pointers that the last save could not write,
    // which only cost a warning then. Throws Error(io).
    void settle();

    // A small file, written atomically: config.json, find/find.csv, … Directories inside are made as
    // needed; the run folder itself never is.
    void write(const std::string& name, const std::string& text);
    std::string read(const std::string& name) const;

    // Lists them in bad-images.txt: a line each, path and reason.
    void write_bad_images(const std::vector<BadImage>& bad);

    // steps.csv and metrics.csv, made with this header at the first call. save() syncs them.
    CsvLog& steps_log(const std::string& header);
    CsvLog& metrics_log(const std::string& header);

    // Saves the state after `step` updates. `best_step` is the step of the best checkpoint so far
    // (may be `step`); -1: none yet. Then moves the pointers and deletes all but the two newest
    // checkpoints and the best. A checkpoint of the same step is replaced, in one move. Returns the
    // file's digest. Throws Error(io), before writing when the disk has no room: every older
    // checkpoint is then as it was. Old files that cannot be deleted are only logged, to `log` when
    // it is given. Another thread than the one that appends rows may save; rows that come meanwhile
    // do not disturb it.
    std::string save(std::int64_t step, const Checkpoint& checkpoint, std::int64_t best_step,
                     const LogSink& log = {});

  private:
    friend class RunFolders;
    struct Impl;
    explicit RunFolder(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// The newest checkpoint in a run folder whose every digest is right; one log line for each that was
// passed over. Nothing when there is none. Reads only. Throws Error(io) when a newer one cannot be
// read.
std::optional<CheckpointFile> newest_valid_checkpoint(const std::string& run, const LogSink& log = {},
                                                      const CheckpointFilter& belongs = {});

// The checkpoint that `best` names. Nothing where there is no `best`, or where it names none, which
// one log line tells. Throws Error(io) when it cannot be read.
std::optional<std::string> best_checkpoint(const std::string& run, const LogSink& log = {});

// What `--model M` means: a run folder's best checkpoint (its newest while none is named best), or
// the file itself. Throws Error(model) when it is not there, is a folder without checkpoints, or no
// regular file.
std::string resolve_model(const std::string& path);

}  // namespace onecycle
