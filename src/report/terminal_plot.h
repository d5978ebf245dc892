// A plot of characters: lines in braille dots (2 x 4 a cell), marks, and axes. No colour is needed.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "onecycle/chart.h"

namespace onecycle::chart {

class TerminalPlot {
  public:
    // At most `width` columns in all (40 or more are used); `height` rows for the curves. x is
    // log10(rate).
    TerminalPlot(int width, int height, Range x, Range y);

    // What is drawn later does not cover a mark. Points outside are left out. A speck and a
    // vertical take only cells that are still empty.
    void line(const std::vector<double>& x, const std::vector<double>& y);
    void mark(double x, double y, std::string_view symbol);
    void speck(double x, double y, std::string_view symbol);
    void vertical(double x, std::string_view symbol);
    // The curve as marks, in every `every`-th column from column `first` on, so that several can be
    // told apart.
    void marked_line(const std::vector<double>& x, const std::vector<double>& y, std::string_view symbol,
                     int first, int every);

    // The rows with both axes.
    std::string render(const std::string& y_label, const std::string& x_label) const;

    // A row below the axis: a bracket from `span.low` to `span.high`, unless that is less, and
    // symbols at x positions, the first over the others. What lies outside is left out.
    std::string below(Range span, const std::vector<std::pair<double, std::string_view>>& marks) const;

  private:
    int dot_row(double y) const;
    int column(double x) const;
    int row(double y) const;
    bool inside(int column, int row) const;

    int columns_, rows_;
    Range x_, y_;
    std::vector<unsigned> dots_;      // braille bits of each cell
    std::vector<std::string> marks_;  // of each cell, over the dots
};

}  // namespace onecycle::chart
