#include "cli/model_options.h"

#include "cli/training_options.h"
#include "onecycle/error.h"

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
           "a run folder (its best checkpoint), a checkpoint, a .safetensors or a .pth file");
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

void require_model(const std::string& model) {
    if (model.empty())
        throw Error(ErrorKind::usage, "missing option", "--model", "no model was named",
                    "give a run folder, as --model runs/photos");
}

}  // namespace onecycle::cli
