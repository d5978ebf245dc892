// How good a classifier is on labelled images.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace onecycle {

struct Interval {
    double low, high;
};

// The Wilson score interval (Wilson 1927) of a proportion: `correct` of `n`, at 95 % for z = 1.96.
// Unlike p +- z s it stays in [0, 1] and is honest for small n. n = 0 gives [0, 1].
Interval wilson_interval(std::int64_t correct, std::int64_t n, double z = 1.959963984540054);

struct ClassResult {
    std::string name{};
    std::int64_t count = 0;      // images of this class
    std::int64_t correct = 0;    // of them recognised
    std::int64_t predicted = 0;  // images that were taken for this class
    double recall = 0;           // correct / count; 0 where the count is 0
    double precision = 0;        // correct / predicted; 0 where nothing was
};

struct Evaluation {
    std::int64_t n = 0;            // images
    double loss = 0;               // mean cross-entropy, without label smoothing or class weights
    double accuracy = 0;           // correct / n
    Interval interval{0, 1};       // of the accuracy, Wilson, 95 %
    double top5 = 0;               // 1 with five classes or fewer
    double balanced_accuracy = 0;  // mean recall of the classes that have images
    std::vector<ClassResult> per_class{};
    std::vector<std::vector<std::int64_t>> confusion{};  // [true class][predicted class]
};

}  // namespace onecycle
