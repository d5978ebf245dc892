// Why the lowest point of a range test is no good rate, in the simplest landscape there is: a well.
//     overshoot overshoot.svg
// The loss is f(w) = 1 + 5 w^2, its slope 10 w. A step of gradient descent gives w - rate * 10 w,
// that is (1 - 10 rate) w: each step multiplies w by the same factor. Below a rate of 0.2 the
// factor lies between -1 and 1 and w shrinks. Above it, every step lands higher up on the other
// side.
#include <onecycle/chart.h>
#include <onecycle/report.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

using namespace onecycle;
using namespace onecycle::chart;

namespace {

constexpr double steepness = 10, limit = 2 / steepness;

double loss(double w) {
    return 1 + steepness / 2 * w * w;
}
double step(double w, double rate) {
    return w - rate * steepness * w;
}

// Where w stands before each step.
std::vector<double> descend(double w, double rate, int steps) {
    std::vector<double> path{w};
    for (int k = 0; k < steps; ++k) path.push_back(w = step(w, rate));
    return path;
}

// One run while the rate rises from 1e-4 to 10 in 100 steps.
LossCurve range_test() {
    LossCurve curve;
    double w = 1;
    for (int k = 0; k < 100; ++k) {
        curve.lr.push_back(1e-4 * std::pow(1e5, k / 99.0));
        curve.loss.push_back(loss(w));
        if (has_blown_up(curve.loss)) break;
        w = step(w, curve.lr.back());
    }
    return curve;
}

std::vector<double> map(const std::vector<double>& values, double (*f)(double)) {
    std::vector<double> out;
    for (const double value : values) out.push_back(f(value));
    return out;
}

std::string picture(const RangeTestAnalysis& test) {
    SvgPicture svg(730, "Overshoot in a well",
                   "Above: three descents with a fixed rate. Below: one run in which the rate rises.");
    std::vector<double> w;
    for (int i = -120; i <= 120; ++i) w.push_back(i / 100.0);
    SvgPanel well = svg.panel({.top = svg.top(),
                               .height = 270,
                               .x = {-1.2, 1.2},
                               .y = {0.6, 8},
                               .x_label = "weight",
                               .y_label = "loss"});
    well.line(w, map(w, loss), Ink::raw);
    struct Descent {
        double start, rate;
        std::string_view ink;
        const char* text;
    };
    const Descent descents[] = {{1.0, 0.05, Ink::good, "rate 0.05: walks down"},
                                {1.0, 0.18, Ink::fair, "rate 0.18: jumps across, still down"},
                                {0.55, 0.21, Ink::bad, "rate 0.21: climbs out"}};
    std::vector<LegendItem> legend;
    for (const auto& [start, rate, ink, text] : descents) {
        const std::vector<double> path = descend(start, rate, 5);
        well.line(path, map(path, loss), ink);
        for (const double at : path) well.mark(at, loss(at), Shape::disc, ink);
        legend.push_back({Shape::disc, std::string(ink), text});
    }
    svg.legend(svg.top() + 342, legend);

    const std::vector<double> x = map(test.lr, std::log10);
    SvgPanel curve = svg.panel({.top = svg.top() + 374,
                                .height = 260,
                                .x = {-4, x.back()},
                                .y = {0.6, 8},
                                .log_x = true,
                                .x_label = "learning rate",
                                .y_label = "loss"});
    curve.band(std::log10(test.suggestion->low), std::log10(test.suggestion->high), Ink::good);
    curve.vertical(std::log10(limit), Ink::bad);
    curve.line(x, test.loss, Ink::main);
    svg.legend(svg.top() + 708,
               {{Shape::line, std::string(Ink::main), "loss"},
                {Shape::band, std::string(Ink::good), "good range"},
                {Shape::dash, std::string(Ink::bad), "from 0.2 on every step lands higher"}});
    return svg.finish();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: overshoot PICTURE.svg\n");
        return 2;
    }
    const LossCurve curve = range_test();
    const RangeTestAnalysis test = analyse_range_test(curve.lr, curve.loss, {.planned_steps = 100});
    std::printf("%s\n%s\n", find_plot(test).c_str(), find_sentence(test).c_str());
    for (const std::string& line : find_reasons(test)) std::printf("%s\n", line.c_str());
    std::printf("\n");

    double lowest = std::numeric_limits<double>::infinity(), lowest_rate = 0;
    std::vector<double> average = fastai_smooth(curve.loss);
    for (std::size_t i = 0; i < average.size(); ++i)
        if (average[i] < lowest) lowest = average[i], lowest_rate = curve.lr[i];
    std::printf("The same well from w = 1, twenty steps at one rate:\n");
    const std::pair<const char*, double> rates[] = {{"steepest point", test.suggestion->lr},
                                                    {"chosen for one-cycle's peak", *test.auto_lr},
                                                    {"just above the limit", 1.05 * limit},
                                                    {"lowest point, centred average", *test.lowest},
                                                    {"lowest point, lagging average", lowest_rate}};
    for (const auto& [name, rate] : rates)
        std::printf("  %-30s rate %-8.3g loss %.3g\n", name, rate, loss(descend(1, rate, 20).back()));

    std::ofstream file(argv[1], std::ios::binary);
    file << picture(test);
    file.close();
    if (!file) std::fprintf(stderr, "error: cannot write %s\n", argv[1]);
    return file ? 0 : 1;
}
