#include "cli/out_folder.h"

#include <filesystem>

#include "onecycle/error.h"

namespace onecycle::cli {

namespace {

constexpr const char* default_parent = "runs";

}  // namespace

void declare_out_options(Arguments& arguments, std::string& out) {
    arguments.group("Files");
    arguments.value("--out", "DIR", "runs/NAME", "the folder to write to; it must be new or empty",
                    [&out](const std::string& text) {
                        if (text.empty())
                            throw Error(ErrorKind::usage, "bad option", "--out ''", "the value is empty",
                                        "name a folder, or leave the option out");
                        out = text;
                    });
    arguments.value("--config", "FILE", "", "a run's config.json as the defaults", [](const std::string&) {});
}

void check_out(const std::string& out) {
    RunFolder::check_out(out.empty() ? default_parent + std::string("/new") : out);
}

RunFolder make_out(const std::string& out, const std::string& data, const std::string& ending, LogSink log) {
    if (!out.empty()) return RunFolder::create(out, std::move(log));
    const auto folder = std::filesystem::absolute(data).lexically_normal();
    const auto name = folder.has_filename() ? folder.filename() : folder.parent_path().filename();
    return RunFolder::create_numbered(default_parent, name.native() + ending, std::move(log));
}

}  // namespace onecycle::cli
