// The learning-rate range test (Smith 2017): train while the rate rises from tiny to huge, and read
// the loss curve. Run by Learner::find(); the analysis takes any curve.
//
// What a curve says: from rates and batch losses to a learning rate, its range, the edge of
// divergence, or a reason why there is no answer. Pure functions; nothing is trained here. Row k
// holds the rate of update k and the mean batch loss measured before that update, so the effect of
// a rate shows one row later (as in all range tests).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "onecycle/optimizer.h"
#include "onecycle/policy.h"

namespace onecycle {

struct AnalysisOptions {
    // The steps that the test was to take, which fastai's trim counts; 0: as many as there are
    // rows.
    std::int64_t planned_steps = 0;
    bool already_smoothed = false;  // the losses are a smoothed column: no further smoothing
    // What networks like this one bear as the maximum of one cycle, known before the test
    // (usual_max_lr()); empty: nothing is known, and the curve speaks alone.
    std::optional<double> usual_lr{};
    bool usual_alone = false;  // auto_lr is the usual rate, whatever the curve says
};

// A learning rate and the stretch of rates around it whose descent is at least 70 % as steep.
struct Suggestion {
    double lr, low, high;
};

// fastai's four answers, on its own smoothing and trim. Empty where fastai would fail.
struct FastaiRules {
    std::optional<double> valley, slide, minimum, steep;  // `minimum` is already divided by 10
};

struct RangeTestAnalysis {
    // Equal lengths; `loss` as given, `smoothed` always finite.
    std::vector<double> lr, loss, smoothed;
    std::optional<Suggestion> suggestion;  // the steepest descent left of the lowest point
    std::string reason;                    // why there is no suggestion; else empty
    // The maximum for one cycle, with two digits; there exactly when the suggestion is. In decades
    // it lies between what the curve says and what is usual, nearer to the one that is surer.
    std::optional<double> auto_lr;
    // What the curve says alone; there exactly when the suggestion is.
    std::optional<double> curve_lr;
    std::optional<double> usual_lr;  // as given
    double curve_weight = 0;         // of curve_lr in auto_lr, 0 to 1
    std::optional<double> lowest;    // the rate at the minimum of the smoothed curve
    std::optional<double> edge;      // the first rate at which the loss has clearly risen again
    double lowest_loss = 0;          // the smoothed loss at `lowest`
    double sigma = 0;                // noise of one batch loss, standard deviation
    double resolution = 0;           // differences of smoothed losses below this are noise
    FastaiRules fastai;
};

// Smoothing, centred, so that nothing lags: losses are capped at 1.1 x the median of the first ten
// (what is not finite counts as capped), then a running median of 7 rows, then a Gaussian of 0.32
// decades (at least two rows), its window renormalised at the ends. The slope is d(loss)/d(log10
// rate).
//
// There is a clear descent when one logistic fall, fitted together with a rise at the end, lowers
// the sum of squared errors by 18 times the variance of one batch. The suggestion is the steepest
// point of the smoothed curve left of its minimum where its slope is 6 deviations of a slope's
// noise or more, else the centre of that fall. The edge is the first rate right of the minimum
// whose median of 7 lies above the minimum by half the drop.
//
// curve_lr = edge / 2, at most 32 x the steepest point where that is sure; sqrt(steepest * lowest)
// where the curve shows no edge. auto_lr is the mean of curve_lr and usual_lr in decades, each
// weighed by its inverse variance: 0.2 decades around what is usual, 0.3 around the curve, up to
// twice that where the descent is barely clear (docs/learning-rate.md, docs/results.md,
// bench/study_auto_lr.py).
// Throws Error(data) when the lengths differ or the rates are not finite, above 0 and rising.
RangeTestAnalysis analyse_range_test(const std::vector<double>& lr, const std::vector<double>& loss,
                                     const AnalysisOptions& options = {});

// Whether a range test with these batch losses so far has gone far enough, as find() asks after
// each update: the last loss is not finite, or the median of the last seven exceeds twice the
// median of the first ten.
bool has_blown_up(const std::vector<double>& loss);

// fastai's AvgSmoothLoss: v = beta v + (1 - beta) loss, divided by 1 - beta^count.
std::vector<double> fastai_smooth(const std::vector<double>& loss, double beta = 0.98);

// fastai's suggestion functions with their default parameters, on a smoothed curve: rows
// [planned_steps / 10, n - 5), cut at the first NaN.
FastaiRules fastai_rules(const std::vector<double>& lr, const std::vector<double>& smoothed,
                         std::int64_t planned_steps);

// --- the test ---

// The defaults are what `--max-lr auto` does inside a training, too, so that both give the same
// answer.
struct FindOptions {
    double start_lr = 1e-7;
    std::optional<double> end_lr{};  // above start_lr; empty: 10, LARS 1000
    std::int64_t steps = 100;
    Ramp ramp = Ramp::inclusive;
};

// The last rate of a test. LARS's rates are larger: they come before its trust coefficient.
double end_lr_of(const FindOptions& options, OptimizerKind kind);

enum class RangeTestStop {
    end,         // all steps taken
    blow_up,     // the loss has diverged
    not_finite,  // the loss or a gradient was no longer a number
    signal,      // the caller asked; the curve is what there is
};
std::string to_string(RangeTestStop stop);  // "end", "blow-up", "not finite", "signal"

struct RangeTestResult {
    std::vector<double> lr{}, loss{};  // a row an update; the loss is the batch's before the update
    RangeTestAnalysis analysis{};
    RangeTestStop stopped = RangeTestStop::end;
    int signal = 0;  // that stopped it
    std::int64_t planned_steps = 0;
    double momentum = 0;  // at which it ran
    double passes = 0;    // over the training images
    double seconds = 0;
    int stage = 0;  // of a training; above 0: it only looked for the edge
    // Of weights, statistics, moments, averages and update counter: equal, for the test leaves no
    // trace.
    std::string digest_before{}, digest_after{};
};

// The range test again and again from the same start, one option changed.
enum class SweepParameter { weight_decay, momentum, batch_size };
// "weight-decay", ...; else Error(usage).
SweepParameter parse_sweep_parameter(const std::string& name);
std::string to_string(SweepParameter parameter);

struct SweepResult {
    double value = 0;
    RangeTestResult test{};
};

}  // namespace onecycle
