// Every option of a training, with its default, and its text form in a run's config.json.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "onecycle/dataset.h"
#include "onecycle/image.h"
#include "onecycle/network.h"
#include "onecycle/optimizer.h"
#include "onecycle/policy.h"

namespace onecycle {

// A part of a training: so many epochs see images of this size.
struct SizedEpochs {
    int size = 0;             // pixels, square
    std::int64_t epochs = 0;  // 1 or more
};

// What a training does when a checkpoint or a log row cannot be written: go on, trying again, or
// stop.
enum class SaveErrors { go_on, stop };

// Named as the command line's options (`batch_size` is --batch-size, `stddev` --std), with the same
// defaults. A member left empty takes the default that depends on others; resolved() fills those
// in. check() refuses values out of the ranges that stand here.
struct TrainOptions {
    // The images.
    std::string data{};  // the folder
    // The evaluation side's folder; empty: found in `data`, or split from it.
    std::string valid{};
    // Of each class, when the split is automatic; in [0, 1); 0: no evaluation.
    double valid_fraction = 0.2;
    // Keys the automatic split; empty: `seed` does. For a program's own data set alone: the command
    // line has no such option.
    std::optional<std::uint64_t> split_seed{};
    std::vector<std::string> exclude{};  // globs of what is left out, see DatasetOptions
    // Labels from a CSV file or from file names; empty: from folders.
    std::string labels{}, label_from{};
    BadImages bad_images = BadImages::skip;
    double max_bad = 0.05;  // a larger fraction of bad files is an error; in [0, 1]
    // An image of more is bad; at most 65535 * 65535.
    std::int64_t max_pixels = DatasetOptions{}.max_pixels;

    // The network.
    std::string arch = default_architecture;  // see architectures(); with one of your own, its name
    Stem stem = Stem::imagenet;
    bool zero_init_residual = false;
    std::string init = "random";  // or a torchvision-named file; a head of another size is replaced
    bool init_ema = false;        // of that file's weights take the moving average beside them
    // A file with the names of the classes of a head that has none, one a line.
    std::string classes{};
    Head head = Head::linear;  // `finetune`: fastai
    // Of fastai's head, whose first layer has half of it, and VGG's; in [0, 1).
    double dropout = 0.5;

    // What it sees.
    int size = 224;  // pixels, square; from Architecture::smallest() to 4096
    // Progressive resizing: the parts of the training, whose epochs sum to `epochs`; `size` is the
    // last part's. One schedule runs over all. A stage before (`freeze_epochs`) sees the first
    // part's size. Empty: all see `size`.
    std::vector<SizedEpochs> sizes{};
    AugmentPolicy augment = AugmentPolicy::standard;
    // See evaluation_view(); in [least_crop_pct, 1].
    double crop_pct = 0.875;
    std::array<double, 3> mean{0.485, 0.456, 0.406};    // of red, green, blue in 0..1
    std::array<double, 3> stddev{0.229, 0.224, 0.225};  // above 0

    // How it learns.
    int batch_size = 64;                                    // 2 to 65536
    std::int64_t epochs = 6;                                // 1 or more
    std::optional<double> max_lr{};                         // above 0; empty: a range test finds it
    std::string policy = "onecycle";                        // see policy.h, for its numbers too
    std::optional<double> pct_start{}, div{}, final_div{};  // empty: the policy's own
    std::optional<Anneal> anneal{};
    bool three_phase = false;
    // Beta1 for Adam; empty: 0.85:0.95 with one-cycle, else 0.9.
    std::optional<MomentumRange> momentum{};
    OptimizerKind optimizer = OptimizerKind::sgd;
    bool nesterov = false;                 // sgd only, with a momentum above 0
    double beta2 = 0.99;                   // in [0, 1)
    double eps = 1e-5;                     // above 0
    double trust_coefficient = 0.001;      // of lars; above 0
    std::optional<double> weight_decay{};  // 0 or more; empty: default_weight_decay()
    bool decay_norm_and_bias = false;      // weight decay for batch norms and biases, too
    double label_smoothing = 0;            // in [0, 1)
    // Alpha of each, up to 1000; 0: without it. With both, each image takes one of the two.
    double mixup = 0, cutmix = 0;
    bool balanced_class_weights = false;  // --class-weights balanced: n / (classes * n_class)
    double clip_norm = 0;                 // above 0: the gradient's global norm is at most this
    int accumulate = 1;                   // batches per update and rank, 1 to 65536
    // Processes that train together: the learner sets it from the job that it is part of
    // (Observer::ranks). A run may go on with another number where `accumulate` makes up for it.
    int ranks = 1;
    // Batch norm's statistics are of the batches of all ranks, so that R ranks train as one with
    // batches R times as large does, within rounding. With one rank it changes nothing.
    bool sync_batch_norm = false;
    // Into how many shares the training images are dealt, by a random permutation that `seed` keys.
    // A batch is of one share, and of its batches an update takes equally many from each. 1: all
    // images are one. 0: as many as ranks where no device has room for all images but each for its
    // share, else 1; the learner settles it, and a run's config.json has it where it is not 1.
    // Divides the batches of an update.
    int shares = 0;
    double ema = 0;  // above 0: decay of a moving average, which is then what counts; below 1

    // How it is fine-tuned. With `freeze_epochs` there are two stages: one with the body frozen, at
    // up to `max_lr`, then `epochs` with what `freeze` leaves free, at up to half of it. Groups of
    // layers: see network.h.
    std::string freeze = "none";  // none, body, or a part's name, as layer2: up to there
    // What is frozen keeps its batch norms' weights and statistics, too.
    bool freeze_bn = false;
    std::int64_t freeze_epochs = 0;  // of a stage before, with the body frozen; `finetune`: 1
    double lr_mult = 1;  // the head's rate over that of the first layers, above 0; `finetune`: 100
    // A range test before the last stage may lower its rate. resolved() says so where `max_lr` is
    // empty: a rate that was given is used as it is.
    bool retest_lr = false;

    // How it is run.
    std::uint64_t seed = 0;
    int threads = 0;                 // 0: all cores; changes no result
    std::string device = "auto";     // auto, cpu, cuda, emulated
    std::string precision = "auto";  // auto, fp32, tf32, bf16, fp16
    // Training images: resident in the device's memory, stream, auto. Changes no result but by
    // `shares`.
    std::string input = "auto";
    // Folder of a file of decoded images, or "off". Empty: in the user's cache, when they do not
    // fit in memory. Changes no result.
    std::string cache{};
    // Bytes that decoding images may take, over all threads; 0: a quarter of what is free. Of this
    // machine rather than of a run: config.json does not have it.
    std::uint64_t decode_memory = 0;
    bool deterministic = false;  // the CPU and the emulated device always are
    // On CUDA a step's pieces are launched one by one: the same bits.
    bool no_graph = false;
    std::int64_t checkpoint_every = 0;  // updates between checkpoints; 0: one epoch
    SaveErrors save_errors = SaveErrors::go_on;
};

// 1e-4 for sgd, adam and lars (added to the gradient), 1e-2 for adamw and lamb (apart from it).
double default_weight_decay(OptimizerKind kind);

// sgd, adam, adamw, lars, lamb; else Error(usage).
OptimizerKind parse_optimizer(const std::string& name);
std::string to_string(OptimizerKind kind);
SaveErrors parse_save_errors(const std::string& name);  // go-on, stop; else Error(usage)
std::string to_string(SaveErrors what);
Head parse_head(const std::string& name);  // linear, fastai; else Error(usage)
std::string to_string(Head head);
// "64:2,128:3", SIZE:EPOCHS for each part in order. Throws Error(usage).
std::vector<SizedEpochs> parse_sizes(const std::string& text);
std::string to_string(const std::vector<SizedEpochs>& sizes);
Stem parse_stem(const std::string& name);  // imagenet, small; else Error(usage)
std::string to_string(Stem stem);

// Throws Error(usage) for the first option out of range, Error(device) for a device or precision
// that this build does not have. Looks at no file.
void check(const TrainOptions& options);
// The architecture stands in place of options.arch.
void check(const TrainOptions& options, const Architecture& architecture);

// The same training with everything said out loud: defaults filled in, `data`, `valid`, `labels`
// and `init` as absolute paths. Numbers that the policy does not take stay empty.
TrainOptions resolved(const TrainOptions& options);
// `arch` becomes the architecture's name.
TrainOptions resolved(const TrainOptions& options, const Architecture& architecture);

// The parts that other headers take.
DatasetOptions dataset_options(const TrainOptions& options, LogSink log = {}, std::function<int()> stop = {});
NetworkOptions network_options(const TrainOptions& options, int classes, int size);
// Of the last stage; the policy "fine-tune" is what fastai's fine_tune() does there.
PolicyOptions policy_options(const TrainOptions& options);
OptimizerOptions optimizer_options(const TrainOptions& options);
// Batches of an update, on all ranks.
inline std::int64_t batches_per_update(const TrainOptions& options) {
    return std::int64_t{options.accumulate} * options.ranks;
}
// Epochs of all stages.
std::int64_t all_epochs(const TrainOptions& options);

// config.json: one object, a member an option, in the order above; null where empty, and "auto" for
// max_lr.
std::string to_json(const TrainOptions& options);
// Members that are missing keep their defaults. Throws Error(usage) naming `where` (a file) and the
// member for an unknown one or one of a wrong type or value, and for text that is not JSON. The
// digest of the images that `onecycle train` adds is passed over.
TrainOptions train_options_from_json(const std::string& text, const std::string& where);

// The options, as "--batch-size", whose values differ and may change the result of a training. Not
// among them: `data`, `exclude`, `labels` and `label_from` (the list of images and labels has a
// digest of its own), what to do with bad images, threads, checkpoint_every, save_errors.
std::vector<std::string> changed_options(const TrainOptions& before, const TrainOptions& after);

}  // namespace onecycle
