// Charts as SVG: one picture with one or more panels. Light or dark as the viewer prefers, no
// scripts, no outside fonts, equal bytes for equal input.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace onecycle::chart {

// Stands in the second line of every picture: it is ours, and may be drawn again.
inline constexpr std::string_view svg_mark = "<desc>Drawn by onecycle</desc>";

struct Range {
    double low, high;
};

// The part of an axis worth showing for some values, widened by a margin (and by `at_least`). Never
// empty.
Range shown_range(const std::vector<double>& values, double at_least = 0);

// The look of a thing, a class of the style sheet in chart.cpp.
struct Ink {
    static constexpr std::string_view main = "main";  // the curve that matters
    static constexpr std::string_view raw = "raw";    // the measurements behind it
    static constexpr std::string_view good = "good";  // recommended
    static constexpr std::string_view fair = "fair";  // worth a look
    static constexpr std::string_view bad = "bad";    // to be avoided
    static std::string series(std::size_t i);         // one of several curves of equal rank
    // The same, told apart where they lie on each other.
    static std::string dashed_series(std::size_t i);
};

enum class Shape { line, dots, disc, triangle, star, dash, band };

struct LegendItem {
    Shape shape;
    std::string ink;
    std::string text;
};

class SvgPicture;

// A panel's axes and what is drawn in them. Coordinates are data's: x is log10 on a logarithmic
// axis.
class SvgPanel {
  public:
    void line(const std::vector<double>& x, const std::vector<double>& y, std::string_view ink);
    void dots(const std::vector<double>& x, const std::vector<double>& y, std::string_view ink,
              double radius);
    void mark(double x, double y, Shape shape, std::string_view ink);
    void band(double from, double to, std::string_view ink);  // over the full height
    void vertical(double x, std::string_view ink);            // dashed

  private:
    friend class SvgPicture;
    SvgPanel(SvgPicture& picture, double top, double height, Range x, Range y);
    double px(double x) const;
    double py(double y) const;

    SvgPicture& picture_;
    double top_, height_;
    Range x_, y_;
};

class SvgPicture {
  public:
    // `height` of what stands below the headings. The subtitle may be empty; a long one takes
    // several lines.
    SvgPicture(double height, const std::string& title, const std::string& subtitle);

    double top() const { return top_; }  // where the headings end and the first panel may begin

    struct PanelOptions {
        double top, height;  // of the plotting area, in pixels
        Range x, y;
        bool log_x = false;
        std::string x_label, y_label;  // no x label: no numbers on the x axis either
    };
    SvgPanel panel(const PanelOptions& options);
    void legend(double top, const std::vector<LegendItem>& items);  // wraps into rows

    // Single things, in pixels from the top left corner.
    struct Box {
        double x, y, width, height;
    };
    enum class Anchor { start, middle, end };
    void box(const Box& box, std::string_view ink, double opacity, const std::string& tooltip);
    void frame(const Box& box);
    // `degrees` turn clockwise.
    void text(double x, double y, const std::string& text, Anchor anchor, double degrees = 0);
    std::string finish();

    static constexpr double width = 800, left = 80, right = 24;  // of the plotting area: margins

  private:
    friend class SvgPanel;
    std::string body_;
    double top_, height_;  // height of the whole
    int clips_ = 0;
    std::string clip_;  // attribute of the newest panel
};

}  // namespace onecycle::chart
