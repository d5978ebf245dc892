// onecycle plan: the schedule as CSV, or with --program the steps that a training step is made of.
#include <fmt/format.h>

#include "cli/training_options.h"
#include "cli/verb.h"
#include "nn/program.h"
#include "onecycle/error.h"
#include "train/engine.h"
#include "train/profile.h"
#include "train/ranks_forecast.h"

namespace onecycle::cli {

namespace {

Mode parse_mode(const std::string& name) {
    if (name == "train") return Mode::train;
    if (name == "evaluate") return Mode::evaluate;
    if (name == "predict") return Mode::predict;
    throw Error(ErrorKind::usage, "bad option", "--mode " + name, "unknown mode",
                "use train, evaluate or predict");
}

class Plan : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        declare_schedule_options(a, policy_, length_.epochs);
        a.whole("--steps-per-epoch", length_.steps_per_epoch, "updates an epoch");
        a.number("--max-lr", max_lr_, "the highest learning rate");

        a.group("Program");
        a.flag("--program", program_, "list the steps of the compiled program instead of the schedule");
        a.value("--mode", "NAME", "train", "train, evaluate or predict",
                [this](const std::string& text) { key_.mode = parse_mode(text); });
        a.text("--arch", "NAME", arch_, architecture_names());
        a.value("--stem", "NAME", "imagenet", "imagenet or small",
                [this](const std::string& text) { network_.stem = parse_stem(text); });
        a.whole("--size", network_.size, "pixels, square");
        a.whole("--classes", network_.classes, "outputs");
        a.whole("--batch-size", key_.batch, "images per batch");
        a.value("--optimizer", "NAME", "sgd", "sgd, adam, adamw, lars or lamb",
                [this](const std::string& text) { key_.optimizer.kind = parse_optimizer(text); });
        a.whole("--ranks", key_.ranks, "that train together: the program of the first of them");
        a.text("--device", "NAME", device_,
               "auto, cpu, cuda (compiled also where there is no GPU) or emulated: whose program");
        a.text("--precision", "NAME", precision_, "auto, fp32, tf32, bf16 or fp16");
        a.whole("--threads", threads_, "0: all cores");
        declare_console_options(a, console_options_, false);
    }

    int run(const Arguments&, Console& console) override {
        check_training();
        console.result(program_ ? program_listing() : schedule_csv());
        return 0;
    }

  private:
    std::string schedule_csv() const {
        const Schedule schedule = make_schedule(policy_, length_, max_lr_);
        constexpr std::int64_t most_rows = 10'000'000;
        if (schedule.steps > most_rows)
            throw Error(ErrorKind::usage, "too many rows", "plan",
                        fmt::format("{} updates are above {}", schedule.steps, most_rows),
                        "use a smaller --epochs or --steps-per-epoch");
        return plan_csv(schedule);
    }

    // The program of a GPU that is not here is compiled on the emulator.
    bool without_gpu() const { return device_ == "cuda" && !missing_for_cuda().why.empty(); }

    // The options of the program and the ranges that they have in a training. They are looked at for
    // the schedule, too: a plan is of a training that could be.
    TrainOptions training() const {
        TrainOptions options;
        options.arch = arch_;
        options.stem = network_.stem;
        options.size = network_.size;
        options.batch_size = key_.batch;
        options.threads = threads_;
        // The emulator's program is the GPU's, but for what computes products: tf32 is fp32 rounded
        // in one of them.
        options.device = without_gpu() ? "emulated" : device_;
        options.precision = without_gpu() && precision_ == "tf32" ? "fp32" : precision_;
        return options;
    }

    void check_training() const {
        check(training());
        if (key_.ranks < 1 || key_.ranks > 65536)
            throw Error(ErrorKind::usage, "bad option", fmt::format("--ranks {}", key_.ranks),
                        "it must be between 1 and 65536", "1 is the default");
        architecture(arch_).make(network_);
    }

    std::string program_listing() const {
        const bool without_gpu = this->without_gpu();
        const TrainOptions options = training();
        const DeviceChoice choice = choose_device(options.device, options.precision);
        const Engine engine = without_gpu
                                  ? Engine{.backend = make_emulated_backend(), .compute = choice.compute}
                                  : make_engine(options.device, options.precision, threads_);
        const Network network = architecture(arch_).make(network_);
        const StateLayout layout(network, *engine.backend, false, engine.compute);
        ProgramKey key = key_;
        key.two_levels = use_two_levels(Links{}, key.ranks);
        Program program = compile(network, layout, *engine.backend, key);
        if (without_gpu) name_libraries(program);
        return fmt::format("# for {} in {}{}\n{}", without_gpu ? device_ : choice.device,
                           without_gpu && precision_ == "tf32" ? precision_ : choice.precision,
                           without_gpu ? ", compiled without a GPU: workspaces are the emulator's" : "",
                           listing(program));
    }

    PolicyOptions policy_;
    ScheduleLength length_{.epochs = TrainOptions{}.epochs, .steps_per_epoch = 100};
    double max_lr_ = 0.01;
    bool program_ = false;
    std::string arch_ = default_architecture;
    NetworkOptions network_;
    ProgramKey key_;
    std::string device_ = "auto", precision_ = "auto";
    int threads_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_plan() {
    return std::make_unique<Plan>();
}

}  // namespace onecycle::cli
