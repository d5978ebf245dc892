// The rows of a run's two logs, steps.csv and metrics.csv (see onecycle/run_folder.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "onecycle/learner.h"
#include "rules/control.h"

namespace onecycle {

// `groups`: of layers that have a column `lr_0`, `lr_1`, ... of their own, the head's last; 0: all
// learn at one rate.
std::string steps_header(int groups);
// `group_rates`: factor of each group's rate; empty: 1.
std::string steps_row(const RingEntry& entry, int groups, const std::vector<double>& group_rates);

inline constexpr const char* metrics_header =
    "epoch,train_loss,valid_loss,accuracy,lr,images_per_second,seconds";
std::string metrics_row(const EpochReport& report);
// A number as the logs write it: shortest text that reads back equal; what is no number leaves the
// cell empty.
std::string csv_cell(double value);
// The rows of a metrics.csv that metrics_row() wrote, up to the first line that begins with no
// epoch: what stands in it, and no more.
std::vector<EpochReport> parse_metrics(std::string_view text);

}  // namespace onecycle
