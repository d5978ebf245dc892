#include "report/terminal_plot.h"

#include <algorithm>
#include <cmath>

#include "report/axis.h"
#include "report/text.h"

namespace onecycle::chart {

namespace {

constexpr int label_columns = 7;  // left of the axis
constexpr int dots_across = 2, dots_down = 4;

// U+2800 plus the bits of the dots that are set.
std::string braille(unsigned bits) {
    const unsigned code = 0x2800 + bits;
    return {static_cast<char>(0xE0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3F)),
            static_cast<char>(0x80 | (code & 0x3F))};
}

// Position of `value` in `range` as 0..1.
double place(double value, Range range) {
    return (value - range.low) / (range.high - range.low);
}

}  // namespace

TerminalPlot::TerminalPlot(int width, int height, Range x, Range y)
    : columns_(std::max(40, width) - label_columns - 1), rows_(height), x_(x), y_(y) {
    if (!(x_.high > x_.low)) x_ = {x.low - 0.5, x.low + 0.5};
    dots_.resize(static_cast<std::size_t>(columns_ * rows_));
    marks_.resize(dots_.size());
}

// A value outside lands one dot outside; nan does too.
int TerminalPlot::dot_row(double y) const {
    const int down = rows_ * dots_down;
    const double dot = (1 - place(y, y_)) * (down - 1);
    return std::isnan(dot) ? -1
                           : static_cast<int>(std::lround(std::clamp(dot, -1.0, static_cast<double>(down))));
}

int TerminalPlot::column(double x) const {
    return static_cast<int>(std::lround(place(x, x_) * (columns_ * dots_across - 1))) / dots_across;
}

int TerminalPlot::row(double y) const {
    const int dot = dot_row(y);
    return dot < 0 ? -1 : dot / dots_down;
}

bool TerminalPlot::inside(int c, int r) const {
    return c >= 0 && c < columns_ && r >= 0 && r < rows_;
}

void TerminalPlot::line(const std::vector<double>& x, const std::vector<double>& y) {
    static constexpr unsigned bit[dots_down][dots_across] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    const int across = columns_ * dots_across, down = rows_ * dots_down;
    int before = -1;
    for (int dot = 0; dot < across; ++dot) {
        const double height = height_at(x, y, x_.low + (x_.high - x_.low) * dot / (across - 1));
        if (std::isnan(height)) continue;
        const int r = dot_row(height);
        if (before < 0) before = r;
        // Fill the way from the dot before, so that a steep line has no gaps.
        const int from = r > before ? before + 1 : r, to = r < before ? before - 1 : r;
        for (int k = std::max(0, from); k <= std::min(down - 1, to); ++k)
            dots_[static_cast<std::size_t>(k / dots_down * columns_ + dot / dots_across)] |=
                bit[k % dots_down][dot % dots_across];
        before = r;
    }
}

void TerminalPlot::mark(double x, double y, std::string_view symbol) {
    const int c = column(x), r = row(y);
    if (!inside(c, r)) return;
    std::string& cell = marks_[static_cast<std::size_t>(r * columns_ + c)];
    if (cell.empty()) cell = symbol;
}

void TerminalPlot::speck(double x, double y, std::string_view symbol) {
    const int c = column(x), r = row(y);
    if (inside(c, r) && dots_[static_cast<std::size_t>(r * columns_ + c)] == 0) mark(x, y, symbol);
}

void TerminalPlot::vertical(double x, std::string_view symbol) {
    const int c = column(x);
    for (int r = 0; r < rows_; ++r) {
        const auto i = static_cast<std::size_t>(r * columns_ + c);
        if (inside(c, r) && marks_[i].empty() && dots_[i] == 0) marks_[i] = symbol;
    }
}

void TerminalPlot::marked_line(const std::vector<double>& x, const std::vector<double>& y,
                               std::string_view symbol, int first, int every) {
    for (int c = first; c < columns_; c += every) {
        const double at = x_.low + (x_.high - x_.low) * c / (columns_ - 1);
        mark(at, height_at(x, y, at), symbol);
    }
}

std::string TerminalPlot::render(const std::string& y_label, const std::string& x_label) const {
    std::vector<std::string> left(static_cast<std::size_t>(rows_));
    for (const Tick& tick : linear_ticks(y_.low, y_.high, std::max(2, rows_ / 3))) {
        const int r = row(tick.at);
        if (r >= 0 && r < rows_) left[static_cast<std::size_t>(r)] = tick.label;
    }
    std::string out = pad_left(y_label, label_columns) + "\n";
    for (int r = 0; r < rows_; ++r) {
        const std::string& label = left[static_cast<std::size_t>(r)];
        std::string text =
            pad_left(label.empty() ? "" : label + " ", label_columns) + (label.empty() ? "│" : "┤");
        for (int c = 0; c < columns_; ++c) {
            const auto i = static_cast<std::size_t>(r * columns_ + c);
            text += !marks_[i].empty() ? marks_[i] : dots_[i] ? braille(dots_[i]) : " ";
        }
        text.erase(text.find_last_not_of(' ') + 1);
        out += text + "\n";
    }
    std::string axis, labels;
    for (const Tick& tick : decade_ticks(x_.low, x_.high, columns_ / 8, false)) {
        const int c = std::clamp(column(tick.at), 0, columns_ - 1);
        axis += repeat("─", c - columns(axis)) + "┬";
        const int start = std::clamp(c - columns(tick.label) / 2, 0, columns_ - columns(tick.label));
        labels = pad_right(labels, start) + tick.label;
    }
    out += std::string(label_columns, ' ') + "└" + axis + repeat("─", columns_ - columns(axis)) + "\n";
    return out + pad_left(x_label + " ", label_columns) + " " + labels + "\n";
}

std::string TerminalPlot::below(Range span,
                                const std::vector<std::pair<double, std::string_view>>& marks) const {
    std::vector<std::string> cells(static_cast<std::size_t>(columns_), " ");
    const auto put = [&](int c, std::string_view symbol) {
        if (inside(c, 0)) cells[static_cast<std::size_t>(c)] = symbol;
    };
    if (span.low <= span.high) {
        const int from = column(span.low), to = column(span.high);
        for (int c = from; c <= to; ++c) put(c, c == from ? "├" : c == to ? "┤" : "─");
    }
    for (auto m = marks.rbegin(); m != marks.rend(); ++m) put(column(m->first), m->second);
    std::string out(label_columns + 1, ' ');
    for (const std::string& cell : cells) out += cell;
    out.erase(out.find_last_not_of(' ') + 1);
    return out;
}

}  // namespace onecycle::chart
