// The checkpoints of a run folder: their names, and which of them counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "onecycle/log.h"
#include "onecycle/run_folder.h"

namespace onecycle {

// Bytes of `latest` and `best`: one name.
inline constexpr std::uint64_t pointer_limit = 4096;

std::string checkpoint_name(std::int64_t step);
std::string checkpoint_path(const std::string& run, std::int64_t step);

// The step of a checkpoint's name; nothing for any other name.
std::optional<std::int64_t> step_of(std::string_view name);

// The steps of all checkpoints, highest first. Throws Error(io).
std::vector<std::int64_t> steps_in(FileSystem& fs, const std::string& run);

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

// The newest checkpoint that is whole and belongs; where none belongs, the newest that is whole.
// One log line for each that is passed over. Reads only. Throws Error(io) when one of those that
// come in question cannot be read: it may be the newest.
Newest find_newest(FileSystem& fs, const std::string& run, const LogSink& log,
                   const CheckpointFilter& belongs = {});

// Throws Error(model) where something was saved and nothing of it can be used: a resume would begin
// anew, over the logs of the run that was lost.
void refuse_if_all_are_lost(FileSystem& fs, const std::string& run, const Newest& newest);

}  // namespace onecycle
