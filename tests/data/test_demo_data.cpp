// The demo data are reproducible and a fair test.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <map>
#include <set>

#include "core/watched_file_system.h"
#include "data/demo_folder.h"
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

namespace {

const DemoOptions tiny{.classes = 2, .images_per_class = 3, .size = 16};

std::map<std::string, std::vector<std::uint8_t>> tree(const fs::path& folder) {
    std::map<std::string, std::vector<std::uint8_t>> files;
    if (!fs::exists(folder)) return files;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
        files[fs::relative(entry.path(), folder)] =
            entry.is_directory() ? std::vector<std::uint8_t>() : bytes_of(entry.path());
    return files;
}

// Fails from the n-th changing call on (for_ever), or there alone.
struct Failing {
    WatchedFileSystem files;
    int calls = 0;

    Failing(int at, bool for_ever, int code) {
        files.before = [=, this](const std::string&, const std::string&) {
            return ++calls == at || (for_ever && calls > at) ? -code : 0;
        };
    }
};

}  // namespace

TEST(DemoData, are_whole_or_not_there_when_any_call_fails) {
    TemporaryFolder root;
    make_demo_data(root / "whole", tiny);
    const auto whole = tree(root / "whole");
    ASSERT_EQ(whole.size(), 2u + 6);
    int at = 1;
    for (bool failed = true; failed; ++at) {
        for (const bool is_there : {false, true}) {
            const fs::path above = root / std::to_string(at), folder = above / "new/demo";
            if (is_there) fs::create_directories(folder);
            Failing failing(at, false, ENOSPC);
            try {
                make_demo_data(folder, tiny, failing.files);
                failed = failing.calls >= at;  // in tidying up perhaps: a hidden folder stays
            } catch (const Error& error) {
                EXPECT_EQ(error.kind(), ErrorKind::io);
                EXPECT_TRUE(tree(folder).empty()) << at;
                EXPECT_EQ(fs::exists(above), is_there) << at;
                make_demo_data(folder, tiny);
            }
            std::map<std::string, std::vector<std::uint8_t>> made = tree(folder);
            std::erase_if(made, [](const auto& file) { return file.first.starts_with('.'); });
            EXPECT_EQ(made, whole) << at;
            fs::remove_all(above);
        }
    }
    EXPECT_GT(at, 30);
}

TEST(DemoData, the_same_call_makes_whole_what_a_killed_one_left) {
    TemporaryFolder root;
    make_demo_data(root / "whole", tiny);
    const auto whole = tree(root / "whole");
    int at = 1;
    for (bool killed = true; killed; ++at) {
        const fs::path folder = root / std::to_string(at) / "demo";
        Failing failing(at, true, EIO);  // and so whatever would tidy up
        try {
            make_demo_data(folder, tiny, failing.files);
        } catch (const Error&) {
        }
        killed = failing.calls >= at;
        if (!killed) break;
        for (const auto& [name, bytes] : tree(folder))
            if (!name.starts_with('.') && whole.at(name) != bytes)
                ADD_FAILURE() << at << ": half of " << name;
        make_demo_data(folder, tiny);
        EXPECT_EQ(tree(folder), whole) << at;
    }
    EXPECT_GT(at, 30);
}

TEST(DemoData, a_stop_leaves_nothing_and_files_of_the_user_stay) {
    TemporaryFolder root;
    DemoOptions stopping = tiny;
    const fs::path folder = root / "demo";
    int asked = 0;
    stopping.stop = [&] { return ++asked == 5 ? 15 : 0; };
    EXPECT_THROW(make_demo_data(folder, stopping), Interrupted);
    EXPECT_FALSE(fs::exists(folder));
    asked = 0;
    stopping.stop = [&] {  // meanwhile the user writes to it
        if (++asked < 5) return 0;
        write(folder / "notes.txt", std::string("mine"));
        for (const auto& entry : fs::directory_iterator(folder))
            if (entry.is_directory()) write(entry.path() / "checkers/mine.jpg", std::string("mine"));
        return 15;
    };
    EXPECT_THROW(make_demo_data(folder, stopping), Interrupted);
    const auto left = tree(folder);
    EXPECT_TRUE(left.contains("notes.txt"));
    EXPECT_EQ(std::ranges::count_if(left, [](const auto& file) { return file.second.size() == 4; }), 2);
    EXPECT_THROW(make_demo_data(folder, tiny), Error);  // not empty
    EXPECT_EQ(tree(folder), left);
    // A link under the name of the hidden folder leads nowhere.
    write(root / "elsewhere/checkers/0000.jpg", std::string("mine"));
    fs::create_directory(root / "other");
    fs::create_symlink(root / "elsewhere", root / "other/.onecycle-demo-2-3-16-0");
    EXPECT_THROW(make_demo_data(root / "other", tiny), Error);
    EXPECT_EQ(bytes_of(root / "elsewhere/checkers/0000.jpg").size(), 4u);
}

TEST(DemoData, two_at_a_time_do_not_mix) {
    TemporaryFolder root;
    DemoOptions first = tiny;
    int asked = 0, refused = 0;
    first.stop = [&] {
        if (++asked != 4) return 0;
        try {
            make_demo_data(root / "demo/", tiny);
        } catch (const Error& error) {
            refused += std::string(error.what()).find("another onecycle") != std::string::npos;
        }
        return 0;
    };
    make_demo_data(root / "demo", first);
    EXPECT_EQ(refused, 1);
    make_demo_data(root / "whole", tiny);
    EXPECT_EQ(tree(root / "demo"), tree(root / "whole"));
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
