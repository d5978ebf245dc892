// onecycle info: what a model, checkpoint or run folder holds.
#include <fmt/format.h>

#include "cli/json.h"
#include "cli/model_options.h"
#include "cli/verb.h"
#include "core/echoed.h"
#include "core/file.h"
#include "onecycle/error.h"
#include "onecycle/model.h"
#include "onecycle/network.h"
#include "onecycle/run_folder.h"
#include "onecycle/tensor_file.h"
#include "report/text.h"
#include "train/model_info.h"

namespace onecycle::cli {

namespace {

std::string joined(const std::vector<std::string>& names, std::size_t most) {
    std::string text;
    for (std::size_t i = 0; i < std::min(names.size(), most); ++i) text += (i ? ", " : "") + echoed(names[i]);
    return names.size() > most ? text + ", ..." : text;
}

// Reads what there is to read; every digest is checked on the way.
FileInfo inspect(const std::string& path) {
    FileInfo info;
    info.path = path;
    FileSystem& fs = posix_file_system();
    FileStatus status;
    if (fs.status(path + "/config.json", status) == 0) {
        info.kind = "run folder";
        info.config = read_file(fs, path + "/config.json", ErrorKind::model);
        if (!newest_valid_checkpoint(path)) {
            info.not_a_model = "no checkpoint yet";
            return info;
        }
    }
    const auto file = open_model(path, false);
    info.file = file->path();
    file->verify();
    info.tensors = file->tensors();
    info.digest = file->digest();
    try {
        info.model = describe_model(*file);
        if (info.kind.empty()) info.kind = info.model->trained_here() ? "checkpoint" : "model";
    } catch (const Error& error) {
        if (info.kind.empty()) info.kind = file->format() + std::string(" file");
        info.not_a_model = error.what();
    }
    return info;
}

class Info : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("FILE", path_, "a run folder, a checkpoint, a .safetensors or a .pth file");
        a.group("Report");
        a.flag("--tensors", tensors_, "list every tensor");
        a.flag("--archs", archs_, "list the networks that --arch takes, without a FILE");
        declare_console_options(a, console_options_, true);
    }

    int run(const Arguments&, Console& console) override {
        if (archs_) {
            if (!path_.empty())
                throw Error(ErrorKind::usage, "too many arguments", path_, "--archs looks at no file",
                            "onecycle info --archs, or onecycle info FILE");
            if (console.json())
                console.result(to_json(architectures()));
            else
                list(console);
            return 0;
        }
        if (path_.empty())
            throw Error(ErrorKind::usage, "missing argument", "FILE", "info needs something to look at",
                        "onecycle info runs/photos");
        const FileInfo info = inspect(newest_run(path_, console));
        if (console.json())
            console.result(to_json(info));
        else
            report(console, info);
        return 0;
    }

  private:
    static void list(Console& console) {
        console.answer(
            fmt::format("{:<16} {:>10}  {:>8}  {}\n", "arch", "parameters", "smallest", "what it is"));
        for (const Architecture& a : architectures())
            console.answer(fmt::format("{:<16} {:>8.1f} M  {:>5} px  {}{}\n", a.name,
                                       static_cast<double>(parameters_of(a, 1000)) / 1e6, a.smallest_size,
                                       a.description, a.name == default_architecture ? " (default)" : ""),
                           38);
    }

    void report(Console& console, const FileInfo& info) const {
        const auto row = [&](const char* name, const std::string& text) {
            if (!text.empty()) console.answer(fmt::format("{:<12} {}\n", name, text), 13);
        };
        row("kind", info.kind);
        row("file", echoed(info.file));
        if (info.model) {
            const ModelInfo& m = *info.model;
            row("arch", m.arch + (m.stem == Stem::small ? ", small stem" : "") +
                            (m.head == Head::fastai ? ", fastai's head" : ""));
            row("classes", m.backbone() ? "none: a backbone, for --init"
                                        : fmt::format("{}: {}", m.class_count, joined(m.classes, 10)));
            if (!m.weights.taken.empty()) row("weights", taken_text(m));
            row("images", fmt::format("{0} x {0}, crop-pct {1}, mean {2}, std {3}", m.size, m.crop_pct,
                                      fmt::join(m.mean, ","), fmt::join(m.stddev, ",")));
            for (const auto& [key, value] : m.metadata)
                if (key != "classes") row(echoed(key).c_str(), shortened(spaced(printable(value)), 100));
        } else {
            row("no network", info.not_a_model);
        }
        row("digest", info.digest);
        row("tensors", fmt::format("{}, {} parameters, {:.1f} MB", info.tensors.size(), info.parameters(),
                                   static_cast<double>(info.bytes()) / 1e6));
        if (tensors_)
            for (const TensorInfo& tensor : info.tensors)
                console.answer(fmt::format("  {:<4} [{}] {}\n", name_of(tensor.type),
                                           fmt::join(tensor.shape, ","), echoed(tensor.name)));
    }

    // A list or an object of JSON, or a row of numbers, with a blank behind each comma, where a line
    // can be broken.
    static std::string spaced(const std::string& text) {
        const bool numbers = text.find_first_not_of("0123456789.,e+-") == std::string::npos;
        if (!numbers && text[0] != '[' && text[0] != '{') return text;
        std::string out;
        for (std::size_t i = 0; i < text.size(); ++i) {
            out += text[i];
            if (text[i] == ',' && (numbers || text.compare(i + 1, 1, "\"") == 0)) out += ' ';
        }
        return out;
    }

    std::string path_;
    bool tensors_ = false, archs_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_info() {
    return std::make_unique<Info>();
}

}  // namespace onecycle::cli
