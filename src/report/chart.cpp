#include "onecycle/chart.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <sstream>

#include "onecycle/error.h"
#include "report/axis.h"
#include "report/text.h"

namespace onecycle::chart {

namespace {

// Two decimals are below what an eye can see.
std::string at(double pixel) {
    std::string text = fmt::format("{:.2f}", pixel);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text == "-0" ? "0" : text;
}

// What printable() leaves alone XML can hold.
std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : printable(text)) {
        if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else
            out += c;
    }
    return out;
}

// The width of a text at 13 px, on the safe side for the fonts of the style sheet.
double text_width(std::string_view text) {
    return 7.1 * columns(text);
}

// Broken between words into lines of at most `width` pixels.
std::vector<std::string> lines_of(const std::string& text, double width) {
    std::vector<std::string> lines;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        if (!lines.empty() && text_width(lines.back() + " " + word) <= width)
            lines.back() += " " + word;
        else
            lines.push_back(word);
    }
    return lines;
}

struct InkColour {
    std::string_view name, light, dark;
};

constexpr InkColour inks[] = {
    {"main", "#0969da", "#58a6ff"}, {"raw", "#6e7781", "#8b949e"}, {"good", "#1a7f37", "#3fb950"},
    {"fair", "#9a6700", "#d29922"}, {"bad", "#cf222e", "#f85149"}, {"s0", "#0969da", "#58a6ff"},
    {"s1", "#bc4c00", "#f0883e"},   {"s2", "#1a7f37", "#3fb950"},  {"s3", "#8250df", "#bc8cff"},
    {"s4", "#bf3989", "#f778ba"},   {"s5", "#57606a", "#b1bac4"},
};
constexpr std::size_t series_inks = 6;

std::string ink_styles(std::string_view InkColour::*shade) {
    std::string out;
    for (const InkColour& ink : inks)
        out += fmt::format(
            ".line.{0},.vertical.{0}{{stroke:{1}}}.dots.{0},.mark.{0},.band.{0},.box.{0}{{fill:{1}}}\n",
            ink.name, ink.*shade);
    return out;
}

std::string style() {
    return "<style>\n"
           "text{font-family:-apple-system,\"Segoe UI\",\"DejaVu "
           "Sans\",Helvetica,Arial,sans-serif;font-size:13px;"
           "fill:#57606a}\n"
           ".title{font-size:18px;font-weight:600;fill:#1f2328}\n"
           ".paper{fill:#ffffff}.grid{stroke:#d8dee4;stroke-width:1}.frame{stroke:#8c959f;stroke-width:1}\n"
           ".line{fill:none;stroke-width:2.4;stroke-linejoin:round;stroke-linecap:round}\n"
           ".d1{stroke-dasharray:10 7}.d2{stroke-dasharray:1 6}.d3{stroke-dasharray:14 6 1 6}"
           ".d4{stroke-dasharray:5 9}.d5{stroke-dasharray:22 10}\n"
           ".dots{stroke:none;fill-opacity:.38}.band{stroke:none;fill-opacity:.13}\n"
           ".mark{stroke:#ffffff;stroke-width:1.6}.vertical{fill:none;stroke-width:1.6;stroke-dasharray:5 "
           "4}\n" +
           ink_styles(&InkColour::light) +
           "@media (prefers-color-scheme:dark){\n"
           "text{fill:#9198a1}.title{fill:#f0f6fc}\n"
           ".paper{fill:#0d1117}.grid{stroke:#262c36}.frame{stroke:#656c76}\n"
           ".band{fill-opacity:.2}.mark{stroke:#0d1117}\n" +
           ink_styles(&InkColour::dark) + "}\n</style>\n";
}

std::string symbol(double x, double y, Shape shape, std::string_view ink) {
    if (shape == Shape::triangle)
        return fmt::format("<path class=\"mark {}\" d=\"M{} {}l7 -12h-14z\"/>\n", ink, at(x), at(y + 6));
    if (shape == Shape::star) {
        // Five points at a radius of 12, and as many between them at 5.
        std::string path;
        for (int i = 0; i < 10; ++i) {
            const double radius = i % 2 ? 5 : 12, angle = i * std::numbers::pi / 5;
            path += fmt::format("{}{} {}", i ? "L" : "M", at(x + radius * std::sin(angle)),
                                at(y - radius * std::cos(angle)));
        }
        return fmt::format("<path class=\"mark {}\" d=\"{}z\"/>\n", ink, path);
    }
    return fmt::format("<circle class=\"mark {}\" cx=\"{}\" cy=\"{}\" r=\"6\"/>\n", ink, at(x), at(y));
}

}  // namespace

std::string Ink::dashed_series(std::size_t i) {
    return fmt::format("s{0} d{0}", i % series_inks);
}

std::string Ink::series(std::size_t i) {
    return fmt::format("s{}", i % series_inks);
}

SvgPanel::SvgPanel(SvgPicture& picture, double top, double height, Range x, Range y)
    : picture_(picture), top_(top), height_(height), x_(x), y_(y) {}

double SvgPanel::px(double x) const {
    const double across = SvgPicture::width - SvgPicture::left - SvgPicture::right;
    return SvgPicture::left + across * (x - x_.low) / (x_.high - x_.low);
}

// Far outside is as good as just outside: the panel clips.
double SvgPanel::py(double y) const {
    const double down = height_ * (y_.high - y) / (y_.high - y_.low);
    return top_ + std::fmin(std::fmax(down, -height_), 2 * height_);
}

void SvgPanel::line(const std::vector<double>& x, const std::vector<double>& y, std::string_view ink) {
    std::string path;
    bool pen_down = false;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const bool finite = std::isfinite(y[i]);
        if (finite) path += fmt::format("{}{} {}", pen_down ? "L" : "M", at(px(x[i])), at(py(y[i])));
        pen_down = finite;
    }
    picture_.body_ += fmt::format("<path class=\"line {}\"{} d=\"{}\"/>\n", ink, picture_.clip_, path);
}

void SvgPanel::dots(const std::vector<double>& x, const std::vector<double>& y, std::string_view ink,
                    double radius) {
    std::string& body = picture_.body_;
    body += fmt::format("<g class=\"dots {}\"{}>\n", ink, picture_.clip_);
    for (std::size_t i = 0; i < x.size(); ++i)
        if (y[i] >= y_.low && y[i] <= y_.high)
            body += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\"/>\n", at(px(x[i])), at(py(y[i])),
                                at(radius));
    body += "</g>\n";
}

void SvgPanel::mark(double x, double y, Shape shape, std::string_view ink) {
    picture_.body_ += symbol(px(x), py(y), shape, ink);
}

void SvgPanel::band(double from, double to, std::string_view ink) {
    picture_.body_ +=
        fmt::format("<rect class=\"band {}\"{} x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", ink,
                    picture_.clip_, at(px(from)), at(top_), at(px(to) - px(from)), at(height_));
}

void SvgPanel::vertical(double x, std::string_view ink) {
    picture_.body_ += fmt::format("<path class=\"vertical {}\"{} d=\"M{} {}v{}\"/>\n", ink, picture_.clip_,
                                  at(px(x)), at(top_), at(height_));
}

SvgPicture::SvgPicture(double height, const std::string& title, const std::string& subtitle) : top_(56) {
    std::string headings;
    for (const std::string& line : lines_of(subtitle, width - left - right)) {
        headings += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", at(left), at(top_), escaped(line));
        top_ += 18;
    }
    top_ += 2;
    height_ = top_ + height;
    body_ = fmt::format(
        "<rect class=\"paper\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n"
        "<text class=\"title\" x=\"{}\" y=\"34\">{}</text>\n",
        at(width), at(height_), at(left), escaped(title));
    body_ += headings;
}

SvgPanel SvgPicture::panel(const PanelOptions& o) {
    Range x = o.x;
    if (!(x.high > x.low)) x = {o.x.low - 0.5, o.x.low + 0.5};
    SvgPanel panel(*this, o.top, o.height, x, o.y);
    const double bottom = o.top + o.height;
    for (const Tick& tick : linear_ticks(o.y.low, o.y.high, static_cast<int>(o.height / 45) + 1)) {
        const double y = panel.py(tick.at);
        body_ += fmt::format("<path class=\"grid\" d=\"M{} {}H{}\"/>\n", at(left), at(y), at(width - right));
        body_ += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", at(left - 9),
                             at(y + 4.5), tick.label);
    }
    for (const Tick& tick :
         o.log_x ? decade_ticks(x.low, x.high, 12, true) : linear_ticks(x.low, x.high, 8)) {
        const double across = panel.px(tick.at);
        body_ += fmt::format("<path class=\"grid\" d=\"M{} {}v{}\"/>\n", at(across), at(o.top), at(o.height));
        if (!o.x_label.empty())
            body_ += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", at(across),
                                 at(bottom + 20), tick.label);
    }
    body_ +=
        fmt::format("<path class=\"frame\" d=\"M{} {}H{}\"/>\n", at(left), at(bottom), at(width - right));
    if (!o.x_label.empty())
        body_ += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                             at((left + width - right) / 2), at(bottom + 42), escaped(o.x_label));
    const double middle = o.top + o.height / 2;
    body_ +=
        fmt::format("<text transform=\"translate(18 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                    at(middle), escaped(o.y_label));
    // A little room above and below, so that a line at the edge keeps its width.
    body_ +=
        fmt::format("<clipPath id=\"c{}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n",
                    clips_, at(left - 2), at(o.top), at(width - right - left + 4), at(o.height));
    clip_ = fmt::format(" clip-path=\"url(#c{})\"", clips_++);
    return panel;
}

void SvgPicture::legend(double top, const std::vector<LegendItem>& items) {
    constexpr double key = 30, gap = 22, row = 22;
    double x = left;
    for (const LegendItem& item : items) {
        const double length = key + text_width(item.text) + gap;
        if (x > left && x + length - gap > width - right) {
            x = left;
            top += row;
        }
        const double y = top - 4.5;
        switch (item.shape) {
            case Shape::line:
                body_ += fmt::format("<path class=\"line {}\" d=\"M{} {}h22\"/>\n", item.ink, at(x), at(y));
                break;
            case Shape::dash:
                body_ +=
                    fmt::format("<path class=\"vertical {}\" d=\"M{} {}h22\"/>\n", item.ink, at(x), at(y));
                break;
            case Shape::band:
                body_ +=
                    fmt::format("<rect class=\"band {}\" x=\"{}\" y=\"{}\" width=\"22\" height=\"14\"/>\n",
                                item.ink, at(x), at(y - 7));
                break;
            case Shape::dots:
                body_ += fmt::format("<g class=\"dots {}\"><circle cx=\"{}\" cy=\"{}\" r=\"3\"/></g>\n",
                                     item.ink, at(x + 11), at(y));
                break;
            case Shape::disc:
            case Shape::triangle:
            case Shape::star:
                body_ += symbol(x + 11, y, item.shape, item.ink);
                break;
        }
        body_ += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", at(x + key), at(top), escaped(item.text));
        x += length;
    }
}

void SvgPicture::box(const Box& b, std::string_view ink, double opacity, const std::string& tooltip) {
    body_ += fmt::format(
        "<rect class=\"box {}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill-opacity=\"{}\">"
        "<title>{}</title></rect>\n",
        ink, at(b.x), at(b.y), at(b.width), at(b.height), at(opacity), escaped(tooltip));
}

void SvgPicture::frame(const Box& b) {
    body_ += fmt::format("<path class=\"frame\" fill=\"none\" d=\"M{} {}h{}v{}h-{}z\"/>\n", at(b.x), at(b.y),
                         at(b.width), at(b.height), at(b.width));
}

void SvgPicture::text(double x, double y, const std::string& text, Anchor anchor, double degrees) {
    static constexpr const char* anchors[] = {"start", "middle", "end"};
    const std::string turn =
        degrees == 0 ? "" : fmt::format(" transform=\"rotate({} {} {})\"", at(degrees), at(x), at(y));
    body_ += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\"{}>{}</text>\n", at(x), at(y),
                         anchors[static_cast<std::size_t>(anchor)], turn, escaped(text));
}

std::string SvgPicture::finish() {
    return fmt::format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
               "height=\"{1}\" role=\"img\">\n{2}\n",
               at(width), at(height_), svg_mark) +
           style() + body_ + "</svg>\n";
}

}  // namespace onecycle::chart
