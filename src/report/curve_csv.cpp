// A saved curve as it is read back.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/file.h"
#include "onecycle/error.h"
#include "onecycle/report.h"
#include "report/csv.h"

namespace onecycle {

namespace {

// The number above 0 that stands in every row. Another program's column of the same name is none of
// ours.
std::optional<double> same_everywhere(const std::vector<double>& column) {
    const double first = column.empty() ? NAN : column.front();
    if (!(first > 0) || !std::isfinite(first)) return std::nullopt;
    const bool same = std::all_of(column.begin(), column.end(), [&](double value) { return value == first; });
    return same ? std::optional(first) : std::nullopt;
}

}  // namespace

LossCurve parse_curve_csv(std::string_view text, const std::string& where) {
    CsvColumns csv = read_csv(text, {"lr", "loss"}, where, {usual_column, updates_column});
    LossCurve curve{std::move(csv.columns[0]), std::move(csv.columns[1])};
    const auto refuse = [&](std::size_t row, const char* why, const char* fix) {
        throw Error(ErrorKind::data, "cannot read the curve", fmt::format("{} line {}", where, row), why,
                    fix);
    };
    for (std::size_t i = 0; i < curve.lr.size(); ++i) {
        if (!std::isfinite(curve.lr[i]) || curve.lr[i] <= 0)
            refuse(csv.line[i], "the rate is not a number above 0", "correct the column lr");
        if (i > 0 && curve.lr[i] <= curve.lr[i - 1])
            refuse(csv.line[i], "the rate is not above the one before",
                   "sort the rows by lr, one row a rate");
    }
    if (curve.lr.empty())
        refuse(1, "there are no rows below the header", "give a row lr,loss for each point");
    curve.usual_lr = same_everywhere(csv.columns[2]);
    curve.updates = static_cast<std::int64_t>(std::min(same_everywhere(csv.columns[3]).value_or(0), 1e15));
    return curve;
}

LossCurve read_curve_csv(const std::string& path) {
    return parse_curve_csv(read_file(posix_file_system(), path), path);
}

}  // namespace onecycle
