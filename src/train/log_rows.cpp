#include "train/log_rows.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

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
    for (std::size_t at = text.find('\n') + 1; at < text.size();) {
        double cells[7] = {};
        std::size_t filled = 0;  // of the cells, a bit each
        const char* const end = text.data() + text.size();
        const char* cell = text.data() + at;
        for (std::size_t c = 0; c < 7; ++c) {
            const char* const after = std::from_chars(cell, end, cells[c]).ptr;
            if (after == cell)
                cells[c] = std::numeric_limits<double>::quiet_NaN();  // empty
            else
                filled |= std::size_t{1} << c;
            cell = after == end ? end : after + 1;
        }
        at = static_cast<std::size_t>(cell - text.data());
        rows.push_back({.epoch = static_cast<std::int64_t>(cells[0]),
                        .train_loss = cells[1],
                        .evaluated = (filled & 0b1100) != 0,
                        .valid_loss = cells[2],
                        .accuracy = cells[3],
                        .lr = cells[4],
                        .images_per_second = cells[5],
                        .seconds = cells[6]});
    }
    return rows;
}

}  // namespace onecycle
