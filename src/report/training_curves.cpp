// A training's curves: read from its logs, drawn as SVG.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "onecycle/chart.h"
#include "onecycle/report.h"
#include "report/csv.h"
#include "report/text.h"

namespace onecycle {

using namespace chart;

namespace {

using Column = std::vector<double>;

struct Points {
    Column x, y;
};

// At most about `most` of the points, evenly taken: more are only bytes.
Points thinned(const Column& x, const Column& y, std::size_t most) {
    const std::size_t every = x.size() / most + 1;
    Points out;
    for (std::size_t i = 0; i < x.size(); i += every) {
        out.x.push_back(x[i]);
        out.y.push_back(y[i]);
    }
    return out;
}

// The centred mean: the curve in up to 200 equal pieces, each piece's mean, then a Gaussian of two
// pieces, its window renormalised at the ends.
Points centred_mean(const Column& x, const Column& y) {
    const std::size_t piece = x.size() / 200 + 1;
    Points means;
    for (std::size_t from = 0; from < x.size(); from += piece) {
        const std::size_t to = std::min(from + piece, x.size());
        double sum = 0, count = 0;
        for (std::size_t i = from; i < to; ++i)
            if (std::isfinite(y[i])) sum += y[i], ++count;
        if (count == 0) continue;
        means.x.push_back((x[from] + x[to - 1]) / 2);
        means.y.push_back(sum / count);
    }
    constexpr std::ptrdiff_t reach = 6;
    const auto n = static_cast<std::ptrdiff_t>(means.y.size());
    Points out{means.x, {}};
    for (std::ptrdiff_t i = 0; i < n; ++i) {
        double sum = 0, weights = 0;
        for (std::ptrdiff_t j = std::max<std::ptrdiff_t>(0, i - reach); j <= std::min(n - 1, i + reach);
             ++j) {
            const double weight = std::exp(-static_cast<double>((i - j) * (i - j)) / 8);
            sum += weight * means.y[static_cast<std::size_t>(j)];
            weights += weight;
        }
        out.y.push_back(sum / weights);
    }
    return out;
}

std::string outcome(const TrainingCurves& c) {
    if (c.step.empty()) return "no updates yet";
    std::string text = fmt::format("{} updates, highest rate {}", c.step.size(),
                                   short_number(*std::max_element(c.lr.begin(), c.lr.end())));
    if (!c.accuracy.empty() && std::isfinite(c.accuracy.back()))
        text += fmt::format("; accuracy {:.1f} % after {} {}", 100 * c.accuracy.back(), c.accuracy.size(),
                            c.accuracy.size() == 1 ? "epoch" : "epochs");
    return text;
}

}  // namespace

TrainingCurves read_training_curves(std::string_view steps_csv, std::string_view metrics_csv,
                                    double steps_per_epoch) {
    TrainingCurves curves;
    if (!steps_csv.empty()) {
        CsvColumns steps = read_csv(steps_csv, {"step", "lr", "momentum", "loss"}, "steps.csv");
        curves.step = std::move(steps.columns[0]);
        curves.lr = std::move(steps.columns[1]);
        curves.momentum = std::move(steps.columns[2]);
        curves.loss = std::move(steps.columns[3]);
    }
    if (!metrics_csv.empty()) {
        CsvColumns metrics = read_csv(metrics_csv, {"epoch", "valid_loss", "accuracy"}, "metrics.csv");
        for (const double epoch : metrics.columns[0])
            curves.epoch_step.push_back((epoch + 1) * steps_per_epoch - 1);
        curves.valid_loss = std::move(metrics.columns[1]);
        curves.accuracy = std::move(metrics.columns[2]);
    }
    return curves;
}

std::string training_svg(const TrainingCurves& c, const std::string& title) {
    constexpr double loss_height = 260, small = 96, gap = 24;
    constexpr double lr_below = loss_height + gap, momentum_below = lr_below + small + gap;
    constexpr double legend_below = momentum_below + small + 74;
    constexpr std::size_t most_points = 1200;
    SvgPicture picture(legend_below + 20, title, outcome(c));
    const Range across = c.step.empty() ? Range{0, 1} : Range{c.step.front(), c.step.back()};

    const Points mean = centred_mean(c.step, c.loss);
    Column shown = mean.y;
    shown.insert(shown.end(), c.valid_loss.begin(), c.valid_loss.end());
    SvgPanel loss = picture.panel({.top = picture.top(),
                                   .height = loss_height,
                                   .x = across,
                                   .y = shown_range(shown),
                                   .x_label = "",
                                   .y_label = "loss"});
    const Points batches = thinned(c.step, c.loss, most_points);
    loss.dots(batches.x, batches.y, Ink::raw, 2);
    loss.line(mean.x, mean.y, Ink::main);
    loss.line(c.epoch_step, c.valid_loss, Ink::series(1));
    for (std::size_t i = 0; i < c.epoch_step.size(); ++i)
        if (std::isfinite(c.valid_loss[i]))
            loss.mark(c.epoch_step[i], c.valid_loss[i], Shape::disc, Ink::series(1));

    const auto small_panel = [&](double top, const Column& y, const char* x_label, const char* y_label) {
        SvgPanel panel = picture.panel({.top = top,
                                        .height = small,
                                        .x = across,
                                        .y = shown_range(y),
                                        .x_label = x_label,
                                        .y_label = y_label});
        const Points points = thinned(c.step, y, most_points);
        panel.line(points.x, points.y, Ink::series(2));
    };
    small_panel(picture.top() + lr_below, c.lr, "", "rate");
    small_panel(picture.top() + momentum_below, c.momentum, "update", "momentum");
    picture.legend(picture.top() + legend_below, {{Shape::dots, std::string(Ink::raw), "one batch"},
                                                  {Shape::line, std::string(Ink::main), "training, smoothed"},
                                                  {Shape::disc, Ink::series(1), "evaluation, each epoch"}});
    return picture.finish();
}

}  // namespace onecycle
