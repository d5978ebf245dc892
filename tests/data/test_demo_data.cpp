// The demo data are reproducible and a fair test.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "data/files.h"
#include "onecycle/dataset.h"
#include "onecycle/demo_data.h"
#include "onecycle/error.h"
#include "onecycle/image.h"

using namespace onecycle;
using namespace onecycle::test;

namespace {

constexpr int side = 16;
constexpr std::size_t features = side * side * 3 + 1;  // and a constant

struct Example {
    std::vector<float> x;  // [features]
    int label = 0;
};

std::vector<Example> examples_of(const std::vector<Sample>& samples) {
    std::vector<Example> examples;
    for (const Sample& sample : samples) {
        Example example{{}, sample.label};
        for (const std::uint8_t value : evaluation_view(read_image(sample.path()), side, 0.875).rgb)
            example.x.push_back(static_cast<float>(value) / 128 - 1);
        example.x.push_back(1);
        examples.push_back(std::move(example));
    }
    return examples;
}

// Softmax regression by plain gradient descent.
class LinearClassifier {
  public:
    explicit LinearClassifier(std::size_t classes) : weights_(classes, std::vector<float>(features)) {}

    void train(const std::vector<Example>& examples, int steps) {
        const float rate = 0.02f / static_cast<float>(examples.size());
        for (int step = 0; step < steps; ++step) {
            std::vector<std::vector<float>> gradient(weights_.size(), std::vector<float>(features));
            for (const Example& example : examples) {
                std::vector<float> p = scores(example.x);
                const float largest = *std::max_element(p.begin(), p.end());
                float sum = 0;
                for (float& value : p) sum += value = std::exp(value - largest);
                for (std::size_t c = 0; c < p.size(); ++c) {
                    const float error = p[c] / sum - (static_cast<int>(c) == example.label ? 1.f : 0.f);
                    for (std::size_t i = 0; i < features; ++i) gradient[c][i] += error * example.x[i];
                }
            }
            for (std::size_t c = 0; c < weights_.size(); ++c)
                for (std::size_t i = 0; i < features; ++i) weights_[c][i] -= rate * gradient[c][i];
        }
    }

    double accuracy(const std::vector<Example>& examples) const {
        int correct = 0;
        for (const Example& example : examples) {
            const std::vector<float> s = scores(example.x);
            correct += std::max_element(s.begin(), s.end()) - s.begin() == example.label;
        }
        return static_cast<double>(correct) / static_cast<double>(examples.size());
    }

  private:
    std::vector<float> scores(const std::vector<float>& x) const {
        std::vector<float> s;
        for (const std::vector<float>& w : weights_) {
            float sum = 0;
            for (std::size_t i = 0; i < features; ++i) sum += w[i] * x[i];
            s.push_back(sum);
        }
        return s;
    }

    std::vector<std::vector<float>> weights_;  // [classes, features]
};

}  // namespace

TEST(DemoData, is_equal_for_equal_seeds_and_whole) {
    TemporaryFolder a, b, c;
    DemoOptions options;
    options.images_per_class = 6;
    EXPECT_EQ(make_demo_data(a.path(), options), 30);
    EXPECT_EQ(make_demo_data(b.path(), options), 30);
    options.seed = 1;
    make_demo_data(c.path(), options);
    const Dataset dataset = open_dataset(a.path());
    EXPECT_EQ(dataset.classes.size(), 5u);
    EXPECT_TRUE(dataset.bad.empty());
    std::set<std::string> extensions;
    for (const Sample& sample : all_samples(dataset)) {
        extensions.insert(fs::path(sample.path()).extension());
        EXPECT_EQ(bytes_of(sample.path()), bytes_of(b.path() / sample.name())) << sample.name();
        EXPECT_NE(bytes_of(sample.path()), bytes_of(c.path() / sample.name())) << sample.name();
    }
    EXPECT_EQ(extensions, (std::set<std::string>{".jpg", ".png"}));
    EXPECT_THROW(make_demo_data(a.path(), options), Error);  // not empty
    options.classes = 1;
    EXPECT_THROW(make_demo_data(a / "new", options), Error);
    EXPECT_FALSE(fs::exists(a / "new"));
}

TEST(DemoData, a_linear_classifier_on_pixels_learns_them_by_heart_and_nothing_else) {
    // Chance is 20 %.
    TemporaryFolder folder;
    DemoOptions options;
    options.images_per_class = 80;
    options.size = 48;
    make_demo_data(folder.path(), options);
    const Dataset dataset = open_dataset(folder.path(), {.valid_fraction = 0.4});
    LinearClassifier classifier(dataset.classes.size());
    const std::vector<Example> known = examples_of(dataset.train), unseen = examples_of(dataset.valid);
    classifier.train(known, 150);
    EXPECT_GT(classifier.accuracy(known), 0.6);
    EXPECT_LT(classifier.accuracy(unseen), 0.35);
}
