// A training as pictures and lines: loss, rate and momentum as SVG, and the line that shows its
// progress.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "onecycle/learner.h"

namespace onecycle {

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
