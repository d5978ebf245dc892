// What a range test and a training are shown and stored as: CSV, JSON, sentences, plots for the
// terminal, SVG. All return text and write nothing; equal input gives equal bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "onecycle/learner.h"
#include "onecycle/range_test.h"

namespace onecycle {

// --- a range test, its trials and its sweeps ---

struct LossCurve {
    std::vector<double> lr, loss;  // a loss may be nan or infinite
    // What the test that saved the curve knew beside it, see find_csv().
    std::optional<double> usual_lr{};
    std::int64_t updates = 0;  // of the training; 0: not known
};

// A saved curve: a header row with the columns `lr` and `loss` in any order, then a row a point; an
// empty loss counts as nan. The columns `usual` and `updates` of find_csv() are read where the same
// number above 0 stands in every row; others are ignored. Throws Error(io) when the file is not
// there, Error(data) naming the line when it is malformed or its rates are not above 0 and rising.
LossCurve read_curve_csv(const std::string& path);
LossCurve parse_curve_csv(std::string_view text, const std::string& where);

// What is known beside the curve of the training that a range test is for.
struct FindContext {
    enum class Origin {
        saved,     // a curve from a file: nothing is known of its network
        test,      // a test with steps or rates of its own
        training,  // the test that `--max-lr auto` runs, or would run
        stage,     // one before a later stage of a training, which looks for the edge alone
    };
    Origin origin = Origin::saved;
    std::string subject{};     // "photos, NETWORK, 224 px, batch 64, seed 0"; may be empty
    std::int64_t updates = 0;  // of the whole training; 0: not known
};

// Whether the training has fewer updates than the range test of `--max-lr auto`, which is then not
// run: for AnalysisOptions::usual_alone of a saved curve.
bool shorter_than_test(const FindContext& context);

// What `--max-lr auto` trains with: RangeTestAnalysis::auto_lr, or the usual rate without one.
// Empty where nothing is usual either, and before a later stage.
std::optional<double> rate_to_train_with(const RangeTestAnalysis& analysis, const FindContext& context);

// find.csv: `lr,loss,smoothed,usual,updates`. The last two are the same in every row, and empty
// where not known.
std::string find_csv(const RangeTestAnalysis& analysis, const FindContext& context = {});

// find.json; what is not a finite number is null. The form without a test is for `find --from-csv`:
// what only a run knows (stopped, digests, seconds) is null there. `verify` is there where trials
// were run.
std::string find_json(const RangeTestResult& test, const FindContext& context = {},
                      const std::optional<std::vector<RateTrial>>& trials = {});
std::string find_json(const RangeTestAnalysis& analysis, const FindContext& context = {});

// One sentence for a beginner: the rate to train with. Or why the curve gives none, and which rate
// remains.
std::string find_sentence(const RangeTestAnalysis& analysis, const FindContext& context = {});

// What that rate is made of; where the loss falls fastest, and why not the lowest point. A line
// each, perhaps none.
std::vector<std::string> find_reasons(const RangeTestAnalysis& analysis, const FindContext& context = {});

// The curve in Unicode, without colour: lines of at most `width` columns (40 or more), each with
// its line end.
std::string find_plot(const RangeTestAnalysis& analysis, const FindContext& context = {}, int width = 80);

// The same as a picture, light or dark as the viewer prefers; the subject is its title.
std::string find_svg(const RangeTestAnalysis& analysis, const FindContext& context = {});

// The rates that are tried beside `lr`: a third of it, itself, and three times it.
std::vector<double> trial_rates(double lr);

// Whether another rate did better than `lr` by more than the evaluation's noise: the lower end of
// the difference of two accuracies is above 0 (Newcombe 1998, method 10, from the two Wilson
// intervals at 95 %).
struct TrialVerdict {
    std::optional<double> better{};  // the best of those that are clearly better
    std::string advice;              // one sentence
};
TrialVerdict judge_trials(double lr, const std::vector<RateTrial>& trials);

// The table with a row a trial, then the advice.
std::string trial_table(double lr, const std::vector<RateTrial>& trials);

// What a sweep shows, by Smith's advice (arXiv 1803.09820): the largest weight decay that still
// allows a high rate; for momentum and batch size the value whose curve falls lowest among those
// that do. Curves whose smoothed losses differ by less than the noise count as equal.
struct SweepVerdict {
    bool visible_difference = false;  // between any two curves
    std::vector<bool> like_first;     // a curve: not to be told from the first
    int best = -1;                    // index of the advised value; -1: no advice
    std::string advice;               // one sentence
};
SweepVerdict judge_sweep(SweepParameter parameter, const std::vector<SweepResult>& results);

// The table with a row a value, then the advice.
std::string sweep_table(SweepParameter parameter, const std::vector<SweepResult>& results);

// {"parameter", "curves": [{"value", and what find.json has}], "advice", "best"}.
std::string sweep_json(SweepParameter parameter, const std::vector<SweepResult>& results);

// The smoothed curves over each other, each with its own mark.
std::string sweep_plot(SweepParameter parameter, const std::vector<SweepResult>& results, int width = 80);
std::string sweep_svg(SweepParameter parameter, const std::vector<SweepResult>& results);

// --- a training ---

struct TrainingCurves {
    // A row an update, in order.
    std::vector<double> step, lr, momentum, loss;
    // A row an epoch; `epoch_step` is the update after which it was measured.
    std::vector<double> epoch_step, valid_loss, accuracy;
};

// From the text of a run's steps.csv and metrics.csv (which may be empty). Epochs are taken to have
// equal numbers of updates, `steps_per_epoch`. Throws Error(data) naming the file's line when
// malformed.
TrainingCurves read_training_curves(std::string_view steps_csv, std::string_view metrics_csv,
                                    double steps_per_epoch);

// Three panels over the update's number: loss (batches, their centred mean, evaluation), rate,
// momentum.
std::string training_svg(const TrainingCurves& curves, const std::string& title = "Training");

// The state of a training or a range test in one line of at most `width` columns (40 or more), with
// a bar for terminals and without one for logs. No line end.
std::string progress_bar(const StepReport& report, int width = 80);
std::string progress_line(const StepReport& report);

// The table of the epochs, a line each, and the line above it, in at most `width` columns (0: no
// limit): what stands at the right is left out where there is no room. `interval`: whether the
// epochs have one. No line ends.
std::string epoch_heading(bool interval, int width = 0);
std::string epoch_line(const EpochReport& report, int width = 0);

}  // namespace onecycle
