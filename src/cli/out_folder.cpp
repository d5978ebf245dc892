#include "cli/out_folder.h"

#include <filesystem>

#include "core/echoed.h"
#include "data/shard_index.h"
#include "onecycle/error.h"

namespace onecycle::cli {

namespace {

constexpr const char* default_parent = "runs";

}  // namespace

void declare_out_options(Arguments& arguments, std::string& out) {
    const auto refuse_empty = [](const std::string& option, const std::string& text) {
        if (text.empty())
            throw Error(ErrorKind::usage, "bad option", option + " ''", "the value is empty",
                        "give one, or leave the option out");
    };
    arguments.group("Files");
    arguments.value("--out", "DIR", "runs/NAME", "the folder to write to; it must be new or empty",
                    [&out, refuse_empty](const std::string& text) {
                        refuse_empty("--out", text);
                        out = text;
                    });
    // Read before all others, whose defaults it gives: see default_training_options().
    arguments.value("--config", "FILE", "", "a run's config.json as the defaults",
                    [refuse_empty](const std::string& text) { refuse_empty("--config", text); });
}

void check_out(const std::string& out) {
    if (out.empty())
        RunFolder::check_parent(default_parent);
    else
        RunFolder::check_out(out);
}

void check_out_space(const std::string& out, std::uint64_t bytes) {
    RunFolder::check_space(out.empty() ? default_parent : out, bytes);
}

std::string data_name(const std::string& data) {
    const auto whole = std::filesystem::absolute(data).lexically_normal();
    const auto name = whole.has_filename() ? whole.filename() : whole.parent_path().filename();
    return (has_shard_ending(name.native()) ? name.stem() : name).native();
}

RunFolder make_out(const std::string& out, const std::string& data, const std::string& ending, LogSink log) {
    if (!out.empty()) return RunFolder::create(out, std::move(log));
    return RunFolder::create_numbered(default_parent, data_name(data) + ending, std::move(log));
}

void write_bad_images(RunFolder& run, const std::vector<BadImage>& bad, Console& console) {
    if (bad.empty()) return;
    run.write_bad_images(bad);
    console.say("All files that were left out: " + echoed(run.file(bad_images_name)));
}

}  // namespace onecycle::cli
