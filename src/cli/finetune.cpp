// onecycle finetune: from trained weights, as fastai's fine_tune(). The head learns first with the
// body frozen, then everything at discriminative rates.
#include <fmt/format.h>

#include "cli/train.h"
#include "cli/training_options.h"
#include "core/shell_quoted.h"
#include "onecycle/error.h"
#include "onecycle/model.h"

namespace onecycle::cli {

namespace {

class FineTune final : public TrainingVerb {
  public:
    FineTune() : TrainingVerb("finetune") {}

  private:
    TrainOptions defaults() const override {
        TrainOptions o{.head = Head::fastai, .optimizer = OptimizerKind::adamw};
        o.policy = "fine-tune";
        o.freeze_epochs = 1;
        o.lr_mult = 100;
        return o;
    }

    // vision_learner(…).fit_one_cycle(6, 1e-2)
    void change_defaults(const std::vector<std::string>& words, TrainOptions& o) const override {
        if (!early_flag(words, one_cycle_only)) return;
        choose_policy(o, "onecycle:fastai");
        o.max_lr = 1e-2;
        o.freeze = "body";
        o.freeze_epochs = 0;
        o.lr_mult = 1;
    }

    void declare_own(Arguments& a) override {
        a.group("Fine-tuning");
        a.flag(one_cycle_only, one_cycle_only_,
               "one stage: the body stays frozen, 6 epochs of one-cycle at 1e-2, unless you say otherwise");
    }

    void prepare(const Arguments& arguments, Console& console, TrainOptions& o) const override {
        if (o.init == "random") ask_for_weights(console, o);
        // The file decides what was not asked for.
        const ModelInfo info = read_model_info(o.init, o.init_ema);
        if (!arguments.given("--arch")) o.arch = info.arch;
        if (!arguments.given("--stem")) o.stem = info.stem;
        if (!arguments.given("--mean")) o.mean = info.mean;
        if (!arguments.given("--std")) o.stddev = info.stddev;
    }

    [[noreturn]] static void ask_for_weights(Console& console, const TrainOptions& o) {
        const Architecture& asked = architecture(o.arch);
        const Architecture& known = asked.published.empty() ? architecture(default_architecture) : asked;
        const std::string file = known.published.front();
        console.warn(fmt::format(
            "finetune starts from trained weights. torchvision publishes those of {} on ImageNet:\n"
            "  https://download.pytorch.org/models/{}\n"
            "The file's SHA-256 begins with {}. With it, type:\n"
            "  onecycle finetune {} --init {}",
            known.name, file, file.substr(file.find('-') + 1, 8), shell_quoted(o.data), file));
        throw Error(ErrorKind::usage, "missing option", "--init", "finetune starts from trained weights",
                    "--init " + file);
    }

    bool one_cycle_only_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_finetune() {
    return std::make_unique<FineTune>();
}

}  // namespace onecycle::cli
