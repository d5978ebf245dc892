// How good a classifier is on labelled images: the figures, and as text and as a picture.
#pragma once

#include <cstddef>
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
    std::int64_t count = 0;      // images of this class; 0: absent, and there are no figures
    std::int64_t correct = 0;    // of them recognised
    std::int64_t predicted = 0;  // images that were taken for this class
    double recall = 0;           // correct / count; 0 where the count is 0
    double precision = 0;        // correct / predicted; 0 where nothing was
    double f1 = 0;               // harmonic mean of both; 0 where both are
};

// An image that the classifier does badly on.
struct ImageLoss {
    std::string file{};
    double loss = 0;               // cross-entropy
    int label = 0, predicted = 0;  // classes: the true one, the answer
    double probability = 0;        // that the true class was given
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
    std::vector<ImageLoss> top_losses{};                 // highest first, where asked for
};

struct EvaluateOptions {
    int top_losses = 0;  // so many images with the highest losses are named; 0 or more
    // Test-time augmentation: what counts is the mean of the probabilities of each image and its
    // mirror image.
    bool tta = false;
};

struct ConfusedPair {
    int label = 0, predicted = 0;  // classes
    std::int64_t count = 0;        // images
};

// The pairs of classes that are taken for each other most often, at most `most`: highest count
// first, then by class.
std::vector<ConfusedPair> most_confused(const Evaluation& evaluation, std::size_t most = 10);

// Lines for a terminal of `width` columns (0: no limit): the figures (top-5 of more than five
// classes), a table of the classes, the confusion matrix (up to 20 classes, where it fits), the
// pairs of classes that are most often confused, the images with the highest losses where they were
// asked for.
std::string evaluation_text(const Evaluation& evaluation, int width = 0);

// The confusion matrix as a heat map: each row is one true class, shades are shares of the row.
// Names up to 50 classes, counts where they fit; every field's pair and count is its tooltip.
std::string confusion_svg(const Evaluation& evaluation, const std::string& title = "Confusion matrix");

}  // namespace onecycle
