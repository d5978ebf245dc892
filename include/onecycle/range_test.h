// The learning-rate range test (Smith 2017): train while the rate rises from tiny to huge, and read
// the loss curve. Run by Learner::find().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "onecycle/optimizer.h"
#include "onecycle/policy.h"
#include "onecycle/range_test_analysis.h"

namespace onecycle {

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
