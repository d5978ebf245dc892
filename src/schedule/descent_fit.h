// A descent in noise: the best fit of one logistic fall, and of a straight rise after it, to a
// range test's losses.
//
//     loss(x) = level - drop / (1 + exp(-(x - centre) / width)) + rise * max(0, x - turn),   x = log10(rate)
//
// Every row takes part, so the fit sees a descent that no window of a few rows can tell from noise,
// and its centre is where that descent is steepest.
#pragma once

#include <span>

namespace onecycle {

struct DescentFit {
    double centre = 0;  // log10 of the rate
    double width = 0;   // decades: a quarter of the drop lies between the centre and 1.1 widths from it
    double drop = 0;    // of the loss; 0: nothing falls
    double gain =
        0;  // by so much the fall lowers the sum of squared errors; over sigma squared it measures evidence
};

// `x` rising, `y` of equal length and finite, `noise` the deviation of one loss. Least squares over
// a grid of centres (81 at most), widths (0.08 to 0.5) and turns. The turn lies right of the
// centre, drop and rise are not negative. Where the noise leaves several centres likely, `centre`
// is their mean, each weighed by its likelihood.
DescentFit fit_descent(std::span<const double> x, std::span<const double> y, double noise);

}  // namespace onecycle
