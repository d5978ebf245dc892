// Range tests of a known shape for the report's tests.
#pragma once

#include <cmath>
#include <random>

#include "onecycle/range_test.h"
#include "rules/blow_up.h"

namespace onecycle {

// A logistic fall of 0.5 around 10^middle, up again one decade and a half later; 100 steps from
// 1e-7 to 10.
inline RangeTestResult range_test_around(double middle, double sigma, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> noise;
    RangeTestResult test;
    BlowUpDetector detector;
    test.planned_steps = 100;
    for (int i = 0; i < 100; ++i) {
        const double x = -7 + 8.0 * i / 99, climb = x - (middle + 1.5);
        const double loss = 2.3 - 0.5 / (1 + std::exp(-(x - middle) / 0.33)) +
                            (climb > 0 ? 3 * (std::pow(10, 1.6 * climb) - 1) : 0);
        test.lr.push_back(std::pow(10, x));
        test.loss.push_back(loss + sigma * noise(generator));
        if (!detector.add(test.loss.back())) continue;
        test.stopped = RangeTestStop::blow_up;
        break;
    }
    test.analysis = analyse_range_test(test.lr, test.loss, {.planned_steps = 100});
    return test;
}

inline RangeTestAnalysis without_descent() {
    std::vector<double> lr, loss;
    for (int i = 0; i < 40; ++i) {
        lr.push_back(1e-6 * std::pow(1.3, i));
        loss.push_back(i % 2 ? 2.4 : 2.2);
    }
    return analyse_range_test(lr, loss);
}

}  // namespace onecycle
