// Run folders in a given file system: what the functions of RunFolder, and those beside it, do in
// the machine's own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/file.h"
#include "onecycle/run_folder.h"

namespace onecycle {

class RunFolders {
  public:
    explicit RunFolders(FileSystem& fs = posix_file_system()) : fs_(fs) {}

    // The one that a run was made or opened in.
    static FileSystem& file_system_of(const RunFolder& run);

    void check_out(const std::string& path) const;
    bool is_unused(const std::string& path) const;
    void check_parent(const std::string& path) const;
    void check_space(const std::string& path, std::uint64_t bytes) const;
    RunFolder create(const std::string& path, LogSink log = {}) const;
    RunFolder create_numbered(const std::string& parent, const std::string& name, LogSink log = {}) const;
    RunFolder open(const std::string& path, LogSink log = {}, const CheckpointFilter& belongs = {}) const;

    std::optional<CheckpointFile> newest_valid_checkpoint(const std::string& run, const LogSink& log = {},
                                                          const CheckpointFilter& belongs = {}) const;
    std::optional<std::string> best_checkpoint(const std::string& run, const LogSink& log = {}) const;
    std::string resolve_model(const std::string& path) const;

    // Opens or makes a log. A last line that was cut short is dropped. Throws Error(io).
    CsvLog csv_log(const std::string& path, const std::string& header) const;

  private:
    // Whether it is a folder, not a link, that a start left which was killed before its first file was
    // whole. What cannot be read or written is another's.
    bool was_left(const std::string& path) const;

    FileSystem& fs_;
};

}  // namespace onecycle
