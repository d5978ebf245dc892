#include "cli/other_words.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace onecycle::cli {

namespace {

// The value stands where ours says VALUE. Where a word has several rows, the first counts whose
// option the verb has.
struct OtherWord {
    std::string_view theirs, ours;
};

// Names without their dashes, in lower case, with - for _.
constexpr OtherWord other_options[] = {
    // The learning rate and its schedule.
    {"lr", "--max-lr VALUE"},
    {"lr0", "--max-lr VALUE"},
    {"lr-max", "--max-lr VALUE"},
    {"base-lr", "--max-lr VALUE"},
    {"learning-rate", "--max-lr VALUE"},
    {"min-lr", "--final-div 1e4"},
    {"lr-min", "--final-div 1e4"},
    {"lrf", "--final-div 1e4"},
    {"div-final", "--final-div VALUE"},
    {"final-div-factor", "--final-div VALUE"},
    {"div-factor", "--div VALUE"},
    {"moms", "--momentum 0.85:0.95"},
    {"sched", "--policy cosine"},
    {"scheduler", "--policy cosine"},
    {"lr-scheduler", "--policy cosine"},
    {"lr-policy", "--policy cosine"},
    {"cos-lr", "--policy cosine"},
    {"warmup", "--pct-start 0.25"},
    {"warmup-epochs", "--pct-start 0.25"},
    {"lr-warmup-epochs", "--pct-start 0.25"},
    {"num-it", "--steps VALUE"},
    {"n-epoch", "--epochs VALUE"},
    {"n-epochs", "--epochs VALUE"},
    {"num-epochs", "--epochs VALUE"},
    {"epoch", "--epochs VALUE"},
    {"e", "--epochs VALUE"},
    // The optimizer.
    {"opt", "--optimizer VALUE"},
    {"opt-func", "--optimizer VALUE"},
    {"opt-eps", "--eps VALUE"},
    {"opt-betas", "--beta2 0.999"},
    {"betas", "--beta2 0.999"},
    {"wd", "--weight-decay VALUE"},
    {"decay", "--weight-decay VALUE"},
    {"wd-bn-bias", "--decay-norm-and-bias"},
    {"clip-grad", "--clip-norm VALUE"},
    {"clip-grad-norm", "--clip-norm VALUE"},
    {"gradient-clip-val", "--clip-norm VALUE"},
    {"grad-accum", "--accumulate VALUE"},
    {"grad-accum-steps", "--accumulate VALUE"},
    {"accumulate-grad-batches", "--accumulate VALUE"},
    {"model-ema", "--ema 0.999"},
    {"model-ema-decay", "--ema VALUE"},
    {"ema-decay", "--ema VALUE"},
    {"smoothing", "--label-smoothing VALUE"},
    {"weighted", "--class-weights balanced"},
    // Batches and threads.
    {"bs", "--batch-size VALUE"},
    {"b", "--batch-size VALUE"},
    {"batch", "--batch-size VALUE"},
    {"batchsize", "--batch-size VALUE"},
    {"val-batch-size", "--batch-size VALUE"},
    {"validation-batch-size", "--batch-size VALUE"},
    {"workers", "--threads VALUE"},
    {"num-workers", "--threads VALUE"},
    {"j", "--threads VALUE"},
    {"nthreads", "--threads VALUE"},
    // Images.
    {"imgsz", "--size VALUE"},
    {"img", "--size VALUE"},
    {"img-size", "--size VALUE"},
    {"image-size", "--size VALUE"},
    {"input-size", "--size VALUE"},
    {"resize", "--size VALUE"},
    {"train-crop-size", "--size VALUE"},
    {"val-crop-size", "--size VALUE"},
    {"val-resize-size", "--crop-pct 0.875"},
    {"aa", "--augment strong"},
    {"auto-augment", "--augment strong"},
    {"hflip", "--augment flip"},
    {"fliplr", "--augment flip"},
    {"no-aug", "--augment none"},
    {"item-tfms", "--size 224"},
    {"batch-tfms", "--augment standard"},
    {"mixup-alpha", "--mixup VALUE"},
    {"cutmix-alpha", "--cutmix VALUE"},
    {"valid-pct", "--valid-fraction VALUE"},
    {"val-split", "--valid-fraction VALUE"},
    {"validation-split", "--valid-fraction VALUE"},
    {"val-dir", "--valid VALUE"},
    {"val", "--valid VALUE"},
    {"test-time-augmentation", "--tta"},
    // The network and its files.
    {"model", "--arch VALUE"},
    {"net", "--arch VALUE"},
    {"network", "--arch VALUE"},
    {"backbone", "--arch VALUE"},
    {"a", "--arch VALUE"},
    {"checkpoint", "--model VALUE"},
    {"checkpoint", "--init VALUE"},
    {"weights", "--model VALUE"},
    {"weights", "--init VALUE"},
    {"initial-checkpoint", "--init VALUE"},
    {"pretrained", "--init FILE"},
    {"drop", "--dropout VALUE"},
    {"ps", "--dropout VALUE"},
    {"num-classes", "--classes VALUE"},
    {"nc", "--classes VALUE"},
    {"freeze-body", "--freeze body"},
    {"topk", "--top VALUE"},
    {"format", "--to FILE.onnx"},
    // Running.
    {"amp", "--precision auto"},
    {"amp-dtype", "--precision auto"},
    {"half", "--precision fp16"},
    {"fp16", "--precision fp16"},
    {"bf16", "--precision bf16"},
    {"gpu", "--device cuda"},
    {"gpus", "--device cuda"},
    {"cuda", "--device cuda"},
    {"cpu", "--device cpu"},
    {"use-deterministic-algorithms", "--deterministic"},
    {"sync-bn", "--sync-batch-norm"},
    {"syncbn", "--sync-batch-norm"},
    {"output", "--out VALUE"},
    {"output-dir", "--out VALUE"},
    {"out-dir", "--out VALUE"},
    {"save-dir", "--out VALUE"},
    {"project", "--out VALUE"},
    {"name", "--out runs/VALUE"},
    {"experiment", "--out runs/VALUE"},
    {"output", "--to VALUE"},
    {"o", "--to VALUE"},
    {"o", "--out VALUE"},
    {"save-period", "--checkpoint-every VALUE"},
    {"manual-seed", "--seed VALUE"},
    {"random-state", "--seed VALUE"},
    {"verbose", "--progress plain"},
    // Arguments that have no name here.
    {"data", "VALUE, without a name"},
    {"data-dir", "VALUE, without a name"},
    {"data-path", "VALUE, without a name"},
    {"dataset", "VALUE, without a name"},
    {"path", "VALUE, without a name"},
    {"source", "VALUE, without a name"},
    // What is always so, or never.
    {"patience", "leave it out: a cycle has its own end, and the best epoch is kept"},
    {"early-stopping", "leave it out: a cycle has its own end, and the best epoch is kept"},
    {"save", "leave it out: every epoch is saved"},
    {"plots", "leave it out: training.svg is always drawn"},
    {"exist-ok", "leave it out: a new run gets a new folder"},
    {"print-freq", "leave it out: every step is in steps.csv"},
    {"log-interval", "leave it out: every step is in steps.csv"},
    {"pin-mem", "leave it out: it is always so"},
    {"channels-last", "leave it out: it is always so"},
    {"torchcompile", "leave it out: the step is always compiled"},
    {"compile", "leave it out: the step is always compiled"},
};

constexpr OtherWord other_verbs[] = {
    {"lr-find", "find"},
    {"lrfind", "find"},
    {"find-lr", "find"},
    {"lr-finder", "find"},
    {"range-test", "find"},
    {"fit", "train"},
    {"fit-one-cycle", "train"},
    {"fit-flat-cos", "train --policy flat-cos"},
    {"learn", "train"},
    {"resume", "train --resume"},
    {"fine-tune", "finetune"},
    {"transfer", "finetune"},
    {"val", "eval"},
    {"valid", "eval"},
    {"validate", "eval"},
    {"evaluate", "eval"},
    {"test", "eval"},
    {"score", "eval"},
    {"get-preds", "predict"},
    {"detect", "predict"},
    {"classify", "predict"},
    {"infer", "predict"},
    {"inference", "predict"},
    {"convert", "export"},
    {"to-onnx", "export"},
    {"schedule", "plan"},
    {"summary", "info"},
    {"show", "info"},
    {"benchmark", "profile"},
    {"bench", "profile"},
    {"checks", "doctor"},
    {"env", "doctor"},
    {"version", "--version"},
};

std::string plain_name(std::string word) {
    word.erase(0, word.find_first_not_of('-'));
    word.erase(std::min(word.find('='), word.size()));
    for (char& c : word) c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return word;
}

}  // namespace

std::string instead_of_option(const std::string& word, const std::string& value,
                              const std::vector<std::string>& options) {
    const auto find_option = [&](std::string_view name) {
        return std::find_if(options.begin(), options.end(), [&](const std::string& option) {
            return std::string_view(option).substr(0, option.find(' ')) == name;
        });
    };
    const std::string name = plain_name(word);
    if (name.size() == 1 && word[0] != '-') return "";  // a=b says too little
    std::string ours;
    if (const auto same = find_option("--" + name); same != options.end())
        ours = *same;  // lr_mult=10, --MAX_LR
    for (const OtherWord& row : other_options) {
        if (!ours.empty()) break;
        const std::string_view option = row.ours.substr(0, row.ours.find(' '));
        if (row.theirs == name && (option[0] != '-' || find_option(option) != options.end())) ours = row.ours;
    }
    if (const std::size_t at = ours.find("VALUE"); at != std::string::npos && !value.empty())
        ours.replace(at, 5, value);
    return ours;
}

std::string instead_of_verb(const std::string& word) {
    const std::string name = plain_name(word);
    for (const OtherWord& row : other_verbs)
        if (row.theirs == name) return std::string(row.ours);
    return "";
}

std::string nearest(const std::string& word, const std::vector<std::string>& names) {
    std::string best;
    std::size_t best_distance = 3;
    for (const std::string& name : names) {
        std::vector<std::size_t> row(name.size() + 1);
        for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
        for (std::size_t i = 1; i <= word.size(); ++i) {
            std::size_t diagonal = row[0];
            row[0] = i;
            for (std::size_t j = 1; j < row.size(); ++j) {
                const std::size_t above = row[j];
                row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (word[i - 1] != name[j - 1])});
                diagonal = above;
            }
        }
        if (row.back() < best_distance) {
            best_distance = row.back();
            best = name;
        }
    }
    return best;
}

}  // namespace onecycle::cli
