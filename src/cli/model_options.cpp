#include "cli/model_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <vector>

#include "cli/out_folder.h"
#include "cli/training_options.h"
#include "core/echoed.h"
#include "core/file.h"
#include "onecycle/error.h"
#include "onecycle/run_folder.h"

namespace onecycle::cli {

void declare_conventions(Arguments& a, ModelOptions& options) {
    const std::string own = "the model's own";
    a.whole("--size", options.size, "pixels, square [" + own + "]");
    a.number("--crop-pct", options.crop_pct, "the short side becomes size / this [" + own + "]");
    a.value("--mean", "R,G,B", own, "subtracted from pixels in 0..1",
            [&options](const std::string& text) { options.mean = parse_triple("--mean", text); });
    a.value("--std", "R,G,B", own, "pixels are then divided by it",
            [&options](const std::string& text) { options.stddev = parse_triple("--std", text); });
    a.group("Model");
    declare_weights(a, options.classes, options.init_ema);
}

void declare_model_options(Arguments& a, std::string& model, ModelOptions& options) {
    a.group("Model");
    a.text("--model", "M", model,
           "a run folder (its best checkpoint; runs/NAME is the one of runs/NAME, runs/NAME-2, ... that was "
           "trained last), a checkpoint, a .safetensors or a .pth file");
    declare_conventions(a, options);
    a.group("Running");
    a.whole("--batch-size", options.batch_size, "images per batch");
    a.whole("--threads", options.threads, "0: all cores");
    a.text("--device", "NAME", options.device,
           "auto (the GPU where one can be used, else the CPU), cpu, cuda, or emulated: the CUDA code run on "
           "the CPU, slowly, to study it");
    a.text("--precision", "NAME", options.precision,
           "auto: bf16 on cuda and emulated, fp32 on the CPU; cuda has fp32, tf32, bf16 and fp16");
    declare_steps(a, options.deterministic, options.no_graph);
}

namespace {

namespace fs = std::filesystem;

struct Run {
    fs::file_time_type saved;  // its last checkpoint
    long number = 1;
    std::string path;
    bool operator<(const Run& other) const {
        return std::pair(saved, number) < std::pair(other.saved, other.number);
    }
};

// The number behind NAME of a folder "NAME-2", 1 of "NAME"; 0: it is called otherwise.
long number_behind(const std::string& folder, const std::string& name) {
    if (folder == name) return 1;
    if (!folder.starts_with(name + "-")) return 0;
    const char* begin = folder.data() + name.size() + 1;
    const char* end = folder.data() + folder.size();
    long number = 0;
    const auto [stop, error] = std::from_chars(begin, end, number);
    return error == std::errc{} && stop == end && *begin != '0' && number > 1 ? number : 0;
}

// Whether train named this run's folder after its data: another may be called so by chance, or by
// --out.
bool is_named_after_data(const std::string& run, const std::string& name) {
    try {
        return data_name(options_of_run(run).data) == name;
    } catch (const Error&) {
        return false;
    }
}

std::string run_of_name(const std::string& model, Console& console) {
    const fs::path path(model);
    const std::string name = path.filename();
    std::error_code failed;
    const fs::path parent = path.has_parent_path() ? path.parent_path() : ".";
    if (name.empty() || name == "." || name == ".." || fs::is_regular_file(path, failed)) return model;
    std::vector<Run> runs;
    for (const fs::directory_entry& entry : fs::directory_iterator(parent, failed)) {
        const std::string folder = entry.path().filename();
        const long number = number_behind(folder, name);
        if (!number || !is_named_after_data(entry.path(), name)) continue;
        const auto saved = fs::last_write_time(entry.path() / "latest", failed);
        if (!failed) runs.push_back({saved, number, path.has_parent_path() ? entry.path().string() : folder});
    }
    // A folder of this name that is no such run is what was meant.
    const bool another = fs::is_directory(path, failed) && !is_named_after_data(model, name);
    if (runs.empty() || another) return model;
    const Run& newest = *std::max_element(runs.begin(), runs.end());
    if (runs.size() > 1 || newest.path != model)
        console.say(fmt::format(
            "{} is {}, the run of that name that was trained last ({}/ would be the folder itself).",
            echoed(model), echoed(newest.path), echoed(model)));
    return newest.path;
}

}  // namespace

std::string newest_run(const std::string& model, Console& console) {
    const std::string run = run_of_name(model, console);
    best_checkpoint(run, console.log());  // says once what is wrong with it
    return run;
}

void require_model(const std::string& model) {
    if (model.empty())
        throw Error(ErrorKind::usage, "missing option", "--model", "no model was named",
                    "give a run folder, as --model runs/photos");
}

}  // namespace onecycle::cli
