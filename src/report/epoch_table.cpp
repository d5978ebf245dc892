// The table of a training's epochs.
#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "onecycle/report.h"
#include "report/text.h"

namespace onecycle {

namespace {

struct Cell {
    std::string heading, text;
};

std::string figure(double value, const char* format) {
    return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : "–";
}

std::vector<Cell> cells(const EpochReport& e) {
    const auto evaluated = [&](double value) { return e.evaluated ? value : std::nan(""); };
    std::vector<Cell> cells = {{"epoch", fmt::to_string(e.epoch)},
                               {"train loss", figure(e.train_loss, "{:.4f}")},
                               {"valid loss", figure(evaluated(e.valid_loss), "{:.4f}")},
                               {"accuracy", figure(evaluated(100 * e.accuracy), "{:.1f} %")}};
    if (e.interval)
        cells.push_back(
            {"95 %", fmt::format("{:.0f} to {:.0f} %", 100 * e.interval->low, 100 * e.interval->high)});
    cells.push_back({"lr", fmt::format("{:.1e}", e.lr)});
    cells.push_back({"images/s", fmt::format("{:.1f}", e.images_per_second)});
    cells.push_back({"seconds", fmt::format("{:.1f}", e.seconds)});
    return cells;
}

// The least columns of a cell, for what stands under its heading.
int width_of(const Cell& cell) {
    if (cell.heading == "95 %") return 10;
    return cell.heading == "lr" ? 7 : columns(cell.heading);
}

std::string row(const std::vector<Cell>& cells, std::string Cell::*part, int width) {
    std::string line;
    for (const Cell& cell : cells) {
        const std::string next = (line.empty() ? "" : "  ") + pad_left(cell.*part, width_of(cell));
        if (width && columns(line) + columns(next) > width) break;
        line += next;
    }
    return line;
}

}  // namespace

std::string epoch_heading(bool interval, int width) {
    EpochReport some;
    if (interval) some.interval.emplace();
    return row(cells(some), &Cell::heading, width);
}

std::string epoch_line(const EpochReport& report, int width) {
    return row(cells(report), &Cell::text, width);
}

}  // namespace onecycle
