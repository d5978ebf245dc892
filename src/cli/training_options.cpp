#include "cli/training_options.h"

#include <fmt/format.h>

#include "core/file.h"
#include "onecycle/error.h"
#include "onecycle/run_folder.h"

namespace onecycle::cli {

namespace {

std::string shown(const std::array<double, 3>& values) {
    return fmt::format("{},{},{}", values[0], values[1], values[2]);
}

std::string shown(const std::optional<MomentumRange>& momentum) {
    if (!momentum) return "0.85:0.95 with one-cycle, else 0.9";
    return momentum->low == momentum->high ? fmt::to_string(momentum->low)
                                           : fmt::format("{}:{}", momentum->low, momentum->high);
}

[[noreturn]] void not_of_its_form(const std::string& option, const std::string& text,
                                  const std::string& fix) {
    throw Error(ErrorKind::usage, "bad option", option + " " + text, "not of the right form", fix);
}

// The numbers of another policy, which --config may have given, are not this one's. (Options are
// set in the order of their declaration: those of the command line come after this.)
template <class O>
void change_policy(O& o, const std::string& policy) {
    if (policy == o.policy) return;
    o.policy = policy;
    o.pct_start.reset();
    o.div.reset();
    o.final_div.reset();
    o.anneal.reset();
    o.three_phase = false;
}

// TrainOptions and PolicyOptions name these members alike.
template <class O>
void declare_schedule(Arguments& a, O& o, std::int64_t& epochs) {
    a.group("Schedule");
    a.whole("--epochs", epochs,
            std::string("passes over the training images") +
                (std::is_same_v<O, TrainOptions> ? ", after those of --freeze-epochs" : ""));
    a.value("--policy", "NAME", o.policy,
            policy_names() + std::string(std::is_same_v<O, TrainOptions>
                                             ? "; fine-tune: fastai's fine_tune, by stages (its default)"
                                             : ""),
            [&o](const std::string& text) { change_policy(o, text); });
    a.value("--momentum", "LO:HI", shown(o.momentum),
            "momentum, or beta1 of Adam; cycles with one-cycle, one number stays",
            [&o](const std::string& text) { o.momentum = parse_momentum(text); });
    a.number("--pct-start", o.pct_start, "share of the updates before the descent [the policy's own]");
    a.number("--div", o.div, "the first rate is the highest divided by this [the policy's own]");
    a.number("--final-div", o.final_div, "the last rate: divided by this, as in the policy's own library");
    a.value("--anneal", "SHAPE", "cos", "cos or linear; for onecycle and onecycle:pytorch",
            [&o](const std::string& text) { o.anneal = parse_anneal(text); });
    a.flag("--three-phase", o.three_phase, "down as long as up, then to the floor; for onecycle:pytorch");
}

void declare_images(Arguments& a, TrainOptions& o) {
    a.group("Images");
    a.text("--valid", "DIR", o.valid, "the evaluation images, when they are elsewhere");
    a.number(
        "--valid-fraction", o.valid_fraction,
        "of each class, for evaluation, when DATA has no val, valid or test folder; 0: train on everything, "
        "evaluate nothing");
    declare_reading(a, o.exclude, o.labels, o.label_from);
    a.whole("--size", o.size, "pixels, square");
    a.value(
        "--sizes", "SIZE:EPOCHS,...", to_string(o.sizes),
        "progressive resizing, as 64:2,128:3 for two epochs of 64 pixels and then three of 128, under one "
        "schedule; the epochs make up --epochs. finetune: of its last stage; the one before takes the first "
        "size, and so does the range test",
        [&o](const std::string& text) { o.sizes = parse_sizes(text); });
    std::string augment = "how training images are varied. ";
    for (const auto policy :
         {AugmentPolicy::none, AugmentPolicy::flip, AugmentPolicy::standard, AugmentPolicy::strong})
        augment +=
            to_string(policy) + ": " + describe(policy) + (policy == AugmentPolicy::strong ? "" : "; ");
    a.value("--augment", "NAME", to_string(o.augment), augment,
            [&o](const std::string& text) { o.augment = parse_augment(text); });
    a.number("--mixup", o.mixup,
             "alpha of mixup: training images are mixed in pairs, and their labels with them; 0.4 is usual, "
             "0: off");
    a.number("--cutmix", o.cutmix,
             "alpha of cutmix: a part of each training image comes from another; 1 is usual, 0: off. With "
             "both, each "
             "image takes one of the two. The training loss is then of mixed images");
    a.number("--crop-pct", o.crop_pct, "evaluation: the short side becomes size / this, then a centre crop");
    a.value("--mean", "R,G,B", shown(o.mean), "subtracted from pixels in 0..1",
            [&o](const std::string& text) { o.mean = parse_triple("--mean", text); });
    a.value("--std", "R,G,B", shown(o.stddev), "pixels are then divided by it",
            [&o](const std::string& text) { o.stddev = parse_triple("--std", text); });
    declare_bad_images(a, o.bad_images, o.max_bad);
    declare_image_limits(a, o.max_pixels, o.decode_memory);
}

void declare_network(Arguments& a, TrainOptions& o) {
    a.group("Network");
    a.text("--arch", "NAME", o.arch, architecture_names());
    a.value("--stem", "NAME", to_string(o.stem), "imagenet, or small: for images of 32 to 64 pixels",
            [&o](const std::string& text) { o.stem = parse_stem(text); });
    a.flag("--zero-init-residual", o.zero_init_residual, "each residual branch starts at zero");
    a.text("--init", "FILE", o.init,
           "start from the weights in a file with torchvision's names: .pth or .safetensors. finetune needs "
           "one, "
           "and takes --arch, --stem, --mean and --std from it where they are not given");
    declare_weights(a, o.classes, o.init_ema);
    a.value("--head", "NAME", to_string(o.head),
            "linear: torchvision's; fastai: maximum and average pooling, norms, dropout and a hidden layer "
            "of 512",
            [&o](const std::string& text) { o.head = parse_head(text); });
    a.number("--dropout", o.dropout, "of fastai's head, whose first layer has half of it, and of VGG's");
}

void declare_stages(Arguments& a, TrainOptions& o) {
    a.group("Fine-tuning");
    a.text("--freeze", "WHAT", o.freeze,
           "weights that stay as they are: none, body (all but the head), or up to a part: stem, layer1 to "
           "layer4 "
           "of a ResNet, block1 to block5 of a VGG");
    a.flag("--freeze-bn", o.freeze_bn, "the frozen layers' batch norms, too; they learn otherwise");
    a.whole("--freeze-epochs", o.freeze_epochs, "epochs of a stage before, with the body frozen");
    a.number("--lr-mult", o.lr_mult,
             "the head's rate over that of the first half of the body; the second half lies between");
}

void declare_learning(Arguments& a, TrainOptions& o) {
    a.value("--max-lr", "X", o.max_lr ? fmt::to_string(*o.max_lr) : "auto",
            "the highest learning rate; auto: a range test finds it", [&o](const std::string& text) {
                if (text == "auto")
                    o.max_lr.reset();
                else
                    o.max_lr = parse_number("--max-lr", text);
            });
    a.group("Optimizer");
    a.whole("--batch-size", o.batch_size, "images per batch");
    a.value("--optimizer", "NAME", to_string(o.optimizer), "sgd, adam, adamw; for large batches lars, lamb",
            [&o](const std::string& text) { o.optimizer = parse_optimizer(text); });
    a.flag("--nesterov", o.nesterov, "Nesterov momentum, for sgd");
    a.number("--beta2", o.beta2, "of adam, adamw, lamb");
    a.number("--eps", o.eps, "of adam, adamw, lamb");
    a.number("--trust-coefficient", o.trust_coefficient,
             "of lars: each layer's step, as a share of its weights");
    a.value("--weight-decay", "X",
            o.weight_decay ? fmt::to_string(*o.weight_decay) : "1e-4, adamw and lamb 1e-2",
            "pulls weights towards zero; not norms and biases",
            [&o](const std::string& text) { o.weight_decay = parse_number("--weight-decay", text); });
    a.flag("--decay-norm-and-bias", o.decay_norm_and_bias, "norms and biases too");
    a.number("--label-smoothing", o.label_smoothing, "share of each label spread over all classes");
    a.value("--class-weights", "NAME", o.balanced_class_weights ? "balanced" : "none",
            "none, or balanced: rare classes weigh more", [&o](const std::string& text) {
                if (text != "none" && text != "balanced")
                    not_of_its_form("--class-weights", text, "use none or balanced");
                o.balanced_class_weights = text == "balanced";
            });
    a.number("--clip-norm", o.clip_norm, "longest gradient, as one vector; 0: no limit");
    a.whole("--accumulate", o.accumulate, "batches per update");
    a.flag(
        "--sync-batch-norm", o.sync_batch_norm,
        "with several ranks, batch norm's statistics are of the batches of all of them: as one rank with so "
        "many times the batch trains; with one rank it changes nothing");
    a.number("--ema", o.ema, "decay of a moving average of the weights, which is then what counts; 0: none");
}

void declare_running(Arguments& a, TrainOptions& o) {
    a.group("Running");
    a.whole("--seed", o.seed, "everything random follows from it");
    a.whole("--threads", o.threads, "0: all cores; changes no result");
    a.text("--device", "NAME", o.device,
           "auto (the GPU where one can be used, else the CPU), cpu, cuda, or emulated: the CUDA code run on "
           "the CPU, slowly, to study it");
    a.text("--precision", "NAME", o.precision,
           "auto: bf16 on cuda and emulated, fp32 on the CPU; cuda has fp32, tf32, bf16 and fp16");
    a.text(
        "--input", "WHERE", o.input,
        "decoded training images: resident (in the device's memory), stream (decoded or read again in each "
        "epoch), or auto: in memory where they fit, on the CPU in half of what is free. Changes no result, "
        "but for one case, which is said: several ranks whose devices have no room for all of them keep a "
        "share each and draw from it");
    a.text("--cache", "DIR", o.cache,
           "keep decoded images in a file in this folder, where the next start finds them, or off. Left out: "
           "in the user's cache folder, only when they do not fit in memory. Changes no result");
    declare_steps(a, o.deterministic, o.no_graph);
}

}  // namespace

void declare_steps(Arguments& a, bool& deterministic, bool& no_graph) {
    a.flag("--deterministic", deterministic,
           "equal runs give equal bits on CUDA too; the CPU and the emulated device always do");
    a.flag("--no-graph", no_graph,
           "on CUDA, launch a step piece by piece instead of as one graph: the same bits, slower, to find "
           "faults");
}

void declare_reading(Arguments& a, std::vector<std::string>& exclude, std::string& labels,
                     std::string& label_from) {
    a.texts("--exclude", "GLOB", exclude,
            "leave out what matches, by its path below DATA or its name; may be given several times");
    a.text("--labels", "FILE", labels,
           "labels from a CSV file with the columns file, label and perhaps split, instead of from folders");
    a.text("--label-from", "REGEX", label_from,
           "labels from file names: the first group of a regular expression, as '^(.+)_[0-9]+'");
}

void declare_weights(Arguments& a, std::string& classes, bool& init_ema) {
    a.text("--classes", "FILE", classes,
           "the names of the classes of a model that has none, a name a line in the model's order");
    a.flag("--init-ema", init_ema,
           "where a training script saved a moving average beside the weights (state_dict_ema, a teacher), "
           "take that");
}

void declare_bad_images(Arguments& a, BadImages& what, double& most) {
    a.value("--bad-images", "WHAT", what == BadImages::skip ? "skip" : "fail",
            "skip: leave broken files out, naming them; fail: stop",
            [&what](const std::string& text) { what = parse_bad_images(text); });
    a.value("--max-bad", "SHARE", fmt::to_string(most),
            "more broken files than this stop the run: 0.5 or 50%", [&most](const std::string& text) {
                const bool percent = !text.empty() && text.back() == '%';
                most = percent ? parse_number("--max-bad", text.substr(0, text.size() - 1)) / 100
                               : parse_number("--max-bad", text);
            });
}

void declare_image_limits(Arguments& a, std::int64_t& most, std::uint64_t& decode_memory) {
    a.whole("--max-pixels", most, "an image of more pixels is not used: its header may ask for all memory");
    a.value(
        "--decode-memory", "BYTES", "a quarter of what is free",
        "what all threads together may take to decode images, such as 500M or 2G",
        [&decode_memory](const std::string& text) { decode_memory = parse_bytes("--decode-memory", text); });
}

std::array<double, 3> parse_triple(const std::string& option, const std::string& text) {
    std::array<double, 3> values{};
    std::size_t from = 0;
    for (std::size_t i = 0; i < 3; ++i) {
        const std::size_t to = text.find(',', from);
        if ((to == std::string::npos) != (i == 2))
            not_of_its_form(option, text, "give three numbers, as 0.5,0.5,0.5");
        values[i] = parse_number(option, text.substr(from, to - from));
        from = to + 1;
    }
    return values;
}

std::string value_before_parsing(const std::vector<std::string>& words, const std::string& name) {
    std::string value;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == name && i + 1 < words.size()) value = words[i + 1];
        if (words[i].rfind(name + "=", 0) == 0) value = words[i].substr(name.size() + 1);
    }
    return value;
}

bool early_flag(const std::vector<std::string>& words, const std::string& name) {
    bool value = false;
    for (const std::string& word : words) {
        if (word == name || word == name + "=true") value = true;
        if (word == name + "=false") value = false;
    }
    return value;
}

TrainOptions default_training_options(const std::vector<std::string>& words) {
    const std::string config = value_before_parsing(words, "--config");
    if (config.empty()) return {};
    return train_options_from_json(read_file(posix_file_system(), config), config);
}

TrainOptions options_of_run(const std::string& run) {
    const std::string config = run + "/config.json";
    FileStatus status;
    const int there = posix_file_system().status(config, status);
    if (there < 0 && there != -ENOENT && there != -ENOTDIR) throw file_error("cannot resume", run, -there);
    const bool found = there < 0 && posix_file_system().status(run, status) == 0;
    if (found && status.type != FileStatus::Type::directory)
        throw Error(ErrorKind::model, "cannot resume", run, "it is no folder",
                    "give the folder that train made, as runs/NAME");
    if (found && RunFolder::is_unused(run))
        throw Error(ErrorKind::model, "cannot resume", run, "the run was stopped before it began",
                    "start it again, with the command that began it");
    if (there < 0)
        throw Error(ErrorKind::model, "cannot resume", run, "no run folder: it has no config.json",
                    "give the folder that train made, as runs/NAME");
    const std::string text = read_file(posix_file_system(), config, ErrorKind::model);
    try {
        return train_options_from_json(text, config);
    } catch (const Error&) {
        throw Error(ErrorKind::model, "cannot resume", run, "its config.json was changed or damaged",
                    "put it right, or start a new run");
    }
}

void declare_training_options(Arguments& arguments, TrainOptions& options) {
    declare_schedule(arguments, options, options.epochs);
    declare_learning(arguments, options);
    declare_network(arguments, options);
    declare_stages(arguments, options);
    declare_images(arguments, options);
    declare_running(arguments, options);
}

void choose_policy(TrainOptions& options, const std::string& policy) {
    change_policy(options, policy);
}

void merge_sizes(const Arguments& arguments, TrainOptions& o) {
    if (!arguments.given("--sizes")) {
        if (arguments.given("--size")) o.sizes.clear();  // those of --config
        return;
    }
    if (arguments.given("--size"))
        throw Error(ErrorKind::usage, "bad option", "--sizes with --size", "the list says every size",
                    "leave one of them out");
    o.size = o.sizes.back().size;
    if (arguments.given("--epochs")) return;
    o.epochs = 0;
    for (const SizedEpochs& part : o.sizes) o.epochs += part.epochs;
}

void declare_schedule_options(Arguments& arguments, PolicyOptions& options, std::int64_t& epochs) {
    declare_schedule(arguments, options, epochs);
}

void require_data(const std::string& data, const std::string& verb) {
    if (data.empty())
        throw Error(ErrorKind::usage, "missing argument", "DATA", verb + " needs a folder of images",
                    "onecycle " + verb + " photos/" + (verb == "eval" ? " --model runs/photos" : ""));
}

}  // namespace onecycle::cli
