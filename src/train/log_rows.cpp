#include "train/log_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

namespace onecycle {

std::string steps_header(int groups) {
    std::string header = "step,lr,momentum,loss";
    for (int g = 0; g < groups; ++g) header += fmt::format(",lr_{}", g);
    return header;
}

std::string steps_row(const RingEntry& entry, int groups, const std::vector<double>& group_rates) {
    std::string row =
        fmt::format("{},{},{},{}", entry.update, entry.learning_rate, entry.momentum, csv_cell(entry.loss));
    for (std::size_t g = 0; g < static_cast<std::size_t>(groups); ++g)
        row += fmt::format(",{}", entry.learning_rate * (group_rates.empty() ? 1 : group_rates[g]));
    return row;
}

std::string metrics_row(const EpochReport& r) {
    const std::string evaluation =
        r.evaluated ? fmt::format("{},{}", csv_cell(r.valid_loss), csv_cell(r.accuracy)) : ",";
    return fmt::format("{},{},{},{},{:.1f},{:.2f}", r.epoch, csv_cell(r.train_loss), evaluation, r.lr,
                       r.images_per_second, r.seconds);
}

std::string csv_cell(double value) {
    return !std::isfinite(value) ? "" : fmt::format("{}", value);
}

std::vector<EpochReport> parse_metrics(std::string_view text) {
    std::vector<EpochReport> rows;
    const std::size_t header = text.find('\n');
    text.remove_prefix(header == std::string_view::npos ? text.size() : header + 1);
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const char *at = line.data(), *const end = at + line.size();
        EpochReport row{.epoch = -1};
        at = std::from_chars(at, end, row.epoch).ptr;
        if (row.epoch < 0) break;
        const auto number = [&](double& value) {  // false: its cell is empty
            at = std::min(at + 1, end);           // the comma
            const char* const after = std::from_chars(at, end, value).ptr;
            if (after == at) value = std::numeric_limits<double>::quiet_NaN();
            return std::exchange(at, after) != after;
        };
        number(row.train_loss);
        const bool loss = number(row.valid_loss), accuracy = number(row.accuracy);
        row.evaluated = loss || accuracy;
        for (double* cell : {&row.lr, &row.images_per_second, &row.seconds}) number(*cell);
        rows.push_back(row);
    }
    return rows;
}

}  // namespace onecycle
