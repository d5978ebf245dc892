// Run folders in the machine's own file system.
#include <utility>

#include "store/run_folders.h"

namespace onecycle {

void RunFolder::check_out(const std::string& path) {
    RunFolders().check_out(path);
}
bool RunFolder::is_unused(const std::string& path) {
    return RunFolders().is_unused(path);
}
void RunFolder::check_parent(const std::string& path) {
    RunFolders().check_parent(path);
}
void RunFolder::check_space(const std::string& path, std::uint64_t bytes) {
    RunFolders().check_space(path, bytes);
}
RunFolder RunFolder::create(const std::string& path, LogSink log) {
    return RunFolders().create(path, std::move(log));
}
RunFolder RunFolder::create_numbered(const std::string& parent, const std::string& name, LogSink log) {
    return RunFolders().create_numbered(parent, name, std::move(log));
}
RunFolder RunFolder::open(const std::string& path, LogSink log, const CheckpointFilter& belongs) {
    return RunFolders().open(path, std::move(log), belongs);
}

std::optional<CheckpointFile> newest_valid_checkpoint(const std::string& run, const LogSink& log,
                                                      const CheckpointFilter& belongs) {
    return RunFolders().newest_valid_checkpoint(run, log, belongs);
}
std::optional<std::string> best_checkpoint(const std::string& run, const LogSink& log) {
    return RunFolders().best_checkpoint(run, log);
}
std::string resolve_model(const std::string& path) {
    return RunFolders().resolve_model(path);
}

}  // namespace onecycle
