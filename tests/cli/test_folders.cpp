// Folders as people have them, from the command to the figures.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace onecycle::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

// Class folders of ten images each lie in `classes`.
class Folders : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        made_ = new Workplace;
        ASSERT_EQ(
            made_->run({"demo-data", "classes", "--classes", "2", "--images", "10", "--size", "40"}).code, 0);
    }
    static void TearDownTestSuite() { delete made_; }

    void add(const std::string& folder) const {
        fs::create_directories((place_ / folder).parent_path());
        fs::copy(*made_ / "classes", place_ / folder, fs::copy_options::recursive);
    }
    std::vector<fs::path> class_folders(const std::string& folder) const {
        std::vector<fs::path> paths;
        for (const auto& entry : fs::directory_iterator(place_ / folder)) paths.push_back(entry.path());
        std::sort(paths.begin(), paths.end());
        return paths;
    }
    // All images in one folder, as NAME_0.png, ...
    void add_flat(const std::string& folder) const {
        add("source");
        fs::create_directories(place_ / folder);
        for (const fs::path& path : class_folders("source")) {
            int number = 0;
            for (const auto& entry : fs::directory_iterator(path))
                fs::copy(entry.path(),
                         place_ / (folder + "/" + path.filename().string() + "_" + std::to_string(number++) +
                                   entry.path().extension().string()));
        }
        fs::remove_all(place_ / "source");
    }

    Outcome train(Words words) const {
        words.insert(words.begin(), "train");
        for (const char* word : {"--arch", "resnet18", "--size", "32", "--batch-size", "8", "--epochs", "1",
                                 "--max-lr", "0.01", "--progress", "none"})
            words.push_back(word);
        return place_.run(words);
    }
    void expect_trained(const Words& words, const std::string& said) const {
        const Outcome outcome = train(words);
        EXPECT_EQ(outcome.code, 0) << outcome.err;
        EXPECT_NE(outcome.out.find(said), std::string::npos) << outcome.out << outcome.err;
    }

    const Workplace place_;
    static inline Workplace* made_ = nullptr;
};

TEST_F(Folders, sides_are_found_however_they_are_called) {
    add("upper/Training");
    add("upper/Testing");
    add("wrapped/seg_train/seg_train");
    add("wrapped/seg_test/seg_test");
    add("long/train");
    add("long/validation");
    for (const char* folder : {"upper", "wrapped", "long"})
        expect_trained({folder}, "2 classes, 20 images to train on, 20 to evaluate on");
}

TEST_F(Folders, a_flat_test_folder_is_left_alone) {
    add("data/train");
    add_flat("data/test");
    expect_trained({"data"},
                   "nothing is evaluated on it\n2 classes, 16 images to train on, 4 to evaluate on");
    const Outcome eval = place_.run({"eval", "data", "--model", "runs/data"});
    EXPECT_NE(eval.out.find("using the 4 images that were kept aside"), std::string::npos)
        << eval.out << eval.err;
}

TEST_F(Folders, find_and_train_work_inside_the_folder_itself) {
    for (const fs::path& path : (add("source"), class_folders("source")))
        fs::rename(path, place_ / path.filename().string());
    fs::remove(place_ / "source");
    const Outcome find = place_.run(
        {"find", ".", "--arch", "resnet18", "--size", "32", "--batch-size", "8", "--steps", "12", "--quiet"});
    EXPECT_EQ(find.code, 0) << find.err;
    for (int times = 0; times < 2; ++times)
        expect_trained({"."}, "onecycle's own output\n2 classes, 16 images to train on, 4 to evaluate on");
}

TEST_F(Folders, valid_means_what_it_says) {
    add("data");
    add("data/val");
    expect_trained({"data", "--valid", "data/val"}, "2 classes, 20 images to train on, 20 to evaluate on");
    fs::remove_all(place_ / "data/val");
    expect_trained({"data", "--valid", "./data/"}, "2 classes, 20 images to train on, 20 to evaluate on");
}

TEST_F(Folders, names_that_are_the_same_text_are_one_class) {
    for (const auto& [side, name] : {std::pair("train", "caf\xC3\xA9"), {"val", "cafe\xCC\x81"}}) {
        add(std::string("data/") + side);
        fs::rename(class_folders(std::string("data/") + side).front(),
                   place_ / ("data/" + std::string(side) + "/" + name));
    }
    expect_trained({"data"}, "2 classes, 20 images to train on, 20 to evaluate on");
}

TEST_F(Folders, labels_come_from_names_or_tables_and_a_run_remembers_how) {
    add_flat("flat");
    std::string table = "file,label\n";
    for (const auto& entry : fs::directory_iterator(place_ / "flat")) {
        const std::string name = entry.path().filename().string();
        table += name + "," + name.substr(0, name.rfind('_')) + "\n";
    }
    place_.write("labels.csv", table);
    place_.write("flat/masks/mask_1.png", "no image");

    const Words by_name = {"flat",      "--label-from", "^(.+)_[0-9]+[.]", "--exclude", "masks",
                           "--exclude", "*.txt"};
    const Words by_table = {"flat", "--labels", "labels.csv", "--exclude", "masks"};
    for (const Words& words : {by_name, by_table}) {
        SCOPED_TRACE(words[1]);
        fs::remove_all(place_ / "runs");
        expect_trained(words, "2 classes, 16 images to train on, 4 to evaluate on");
        const json config = json::parse(place_.read("runs/flat/config.json"));
        EXPECT_EQ(config["exclude"][0], "masks");
        EXPECT_NE(config["labels"] == "", config["label_from"] == "");
        const Outcome resumed = place_.run({"train", "--resume", "runs/flat"});
        EXPECT_EQ(resumed.code, 0) << resumed.err;
        const Outcome eval = place_.run({"eval", "flat", "--model", "runs/flat"});
        EXPECT_EQ(eval.code, 0) << eval.err;
        EXPECT_NE(eval.out.find("using the 4 images that were kept aside"), std::string::npos) << eval.out;
    }
    // The folder on its own says what it lacks.
    fs::remove_all(place_ / "flat/masks");
    const Outcome bare = train({"flat"});
    EXPECT_EQ(bare.code, 3);
    EXPECT_NE(bare.err.find("--labels FILE.csv or --label-from REGEX"), std::string::npos) << bare.err;
    EXPECT_EQ(train({"flat", "--label-from", "("}).code, 2);
    EXPECT_EQ(train({"flat", "--labels", "missing.csv"}).code, 3);
}

TEST_F(Folders, a_training_on_everything_ends_with_its_last_checkpoint) {
    add("data");
    const Outcome outcome = train({"data", "--valid-fraction", "0", "--epochs", "2", "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.err.find("20 images to train on, 0 to evaluate on"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("the last checkpoint counts as the best"), std::string::npos);
    EXPECT_EQ(outcome.err.find("nan"), std::string::npos) << outcome.err;
    const json result = json::parse(outcome.out);
    EXPECT_TRUE(result["epochs"].back()["accuracy"].is_null());
    EXPECT_TRUE(result["epochs"].back()["valid_loss"].is_null());
    EXPECT_FALSE(result["epochs"].back()["train_loss"].is_null());
    const std::string metrics = place_.read("runs/data/metrics.csv");
    EXPECT_NE(metrics.find(",,,"), std::string::npos) << metrics;
    EXPECT_EQ(place_.read("runs/data/best"), place_.read("runs/data/latest"));
    EXPECT_EQ(place_.read("runs/data/training.svg").find("nan"), std::string::npos);

    const Outcome resumed = place_.run({"train", "--resume", "runs/data", "--json"});
    EXPECT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_TRUE(json::parse(resumed.out)["epochs"].back()["accuracy"].is_null());
    const Outcome eval = place_.run({"eval", "data", "--model", "runs/data"});
    EXPECT_EQ(eval.code, 3);
    EXPECT_NE(eval.err.find("trained on every image"), std::string::npos) << eval.err;
    const Outcome all = place_.run({"eval", "data", "--model", "runs/data", "--all", "--json"});
    EXPECT_EQ(all.code, 0) << all.err;
    EXPECT_EQ(json::parse(all.out)["n"], 20);
    const Outcome find = place_.run({"find", "data", "--valid-fraction", "0", "--arch", "resnet18", "--size",
                                     "32", "--batch-size", "8", "--steps", "12", "--quiet"});
    EXPECT_EQ(find.code, 0) << find.err;
    EXPECT_EQ(place_.run({"find", "data", "--valid-fraction", "0", "--verify"}).code, 2);
}

TEST_F(Folders, predict_passes_over_what_training_passes_over) {
    add("data");
    expect_trained({"data"}, "16 images to train on");
    const std::string image = class_folders("data").front().string();
    fs::copy(image, place_ / "data/@eaDir");
    fs::copy(image, place_ / "data/__MACOSX");
    const Outcome predicted = place_.run({"predict", "data", "--model", "runs/data", "--json"});
    ASSERT_EQ(predicted.code, 0) << predicted.err;
    EXPECT_EQ(json::parse(predicted.out).size(), 20u);
}

}  // namespace
}  // namespace onecycle::test
