// onecycle export: a model for other programs.
#include <fmt/format.h>

#include "cli/json.h"
#include "cli/model_options.h"
#include "cli/verb.h"
#include "core/echoed.h"
#include "onecycle/error.h"
#include "onecycle/export.h"

namespace onecycle::cli {

namespace {

class Export : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("M", model_,
                     "a run folder (its best checkpoint), a checkpoint, a .safetensors or a .pth file");
        a.group("Export");
        a.text("--to", "FILE", to_,
               "FILE.safetensors: weights under torchvision's names; FILE.onnx: a graph");
        a.flag("--force", options_.force, "replace FILE when it is there");
        a.group("ONNX");
        a.flag("--keep-bn", options_.keep_bn,
               "keep batch norms as nodes, not folded into the weights beside them");
        a.flag("--with-preprocessing", options_.with_preprocessing,
               "normalise inside the graph: its input is 8-bit pixels [N,H,W,3]");
        a.group("Images");
        declare_conventions(a, options_.model);
        declare_console_options(a, console_options_, true);
    }

    int run(const Arguments&, Console& console) override {
        if (model_.empty())
            throw Error(ErrorKind::usage, "missing argument", "M", "export needs a model",
                        "onecycle export runs/photos --to photos.onnx");
        if (to_.empty())
            throw Error(ErrorKind::usage, "missing option", "--to", "no file was named",
                        "give one that ends in .safetensors or .onnx");
        const ExportResult result = export_model(newest_run(model_, console), to_, options_);
        if (console.json()) {
            console.result(to_json(result));
            return 0;
        }
        const ModelInfo& m = result.info;
        console.say(fmt::format("{}: {} of {} classes, images of {} x {}, {:.1f} MB", echoed(to_), m.arch,
                                m.class_count, m.size, m.size, static_cast<double>(result.bytes) / 1e6));
        return 0;
    }

  private:
    std::string model_, to_;
    ExportOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_export() {
    return std::make_unique<Export>();
}

}  // namespace onecycle::cli
