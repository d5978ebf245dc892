// eval and predict as a user meets them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace onecycle::test {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class EvalPredict : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        place_ = new Workplace;
        ASSERT_EQ(place_->run({"demo-data", "data", "--classes", "3", "--images", "8", "--size", "40"}).code,
                  0);
        const Outcome trained =
            place_->run({"train", "data", "--arch", "resnet18", "--size", "32", "--batch-size", "8",
                         "--epochs", "1", "--max-lr", "0.02", "--out", "run"});
        ASSERT_EQ(trained.code, 0) << trained.err;
        for (const std::string& path : place_->listing())
            if (path.starts_with("data/") && (path.ends_with(".png") || path.ends_with(".jpg")))
                images_.push_back(path);
        place_->write("broken.jpg", "not an image");
        std::filesystem::create_directory(*place_ / "empty");
    }
    static void TearDownTestSuite() { delete place_; }

    static Outcome run(const Words& words, const std::string& input = "") {
        Words all = words;
        all.insert(all.end(), {"--model", "run"});
        return place_->run_with_input(input, all);
    }
    static json answers(const Words& words, const std::string& input = "") {
        Words all = words;
        all.push_back("--json");
        const Outcome outcome = run(all, input);
        EXPECT_EQ(outcome.code, 0) << outcome.err;
        return json::parse(outcome.out);
    }

    static inline Workplace* place_ = nullptr;
    static inline std::vector<std::string> images_;
};

TEST_F(EvalPredict, folders_files_and_a_list_on_stdin_give_the_same_answers) {
    const json folder = answers({"predict", "data"});
    ASSERT_EQ(folder.size(), images_.size());
    for (std::size_t i = 0; i < images_.size(); ++i) EXPECT_EQ(folder[i]["file"], images_[i]);
    Words files = {"predict"};
    std::string list;
    for (const std::string& image : images_) {
        files.push_back(image);
        list += image + "\r\n\n";  // line ends of any kind, empty lines
    }
    EXPECT_EQ(answers(files), folder);
    EXPECT_EQ(answers({"predict", "-"}, list), folder);
    EXPECT_EQ(answers({"predict", "-"}, "data/\n"), folder);
    const json parts = answers({"predict", "data", "--batch-size", "5"});
    for (std::size_t i = 0; i < images_.size(); ++i)
        EXPECT_EQ(parts[i]["top"][0]["class"], folder[i]["top"][0]["class"]);
}

// 3 classes of 8: of each, 6 were trained on.
TEST_F(EvalPredict, a_training_folder_that_changed_since_is_split_by_what_the_checkpoint_knows) {
    namespace fs = std::filesystem;
    const json whole = answers({"eval", "data"});
    EXPECT_EQ(whole["n"], 6);
    EXPECT_EQ(whole["held_out"], 6);
    EXPECT_EQ(whole["new_files"], 0);
    EXPECT_EQ(whole["missing_files"], 0);

    fs::copy(*place_ / "data", *place_ / "changed", fs::copy_options::recursive);
    const auto in_changed = [&](std::size_t k) { return *place_ / ("changed" + images_[k].substr(4)); };
    fs::remove(in_changed(0));
    fs::rename(in_changed(1), *place_ / "changed/checkers/renamed.bin.jpg");
    ASSERT_EQ(place_
                  ->run({"demo-data", "elsewhere", "--classes", "3", "--images", "3", "--size", "40",
                         "--seed", "9"})
                  .code,
              0);
    std::string other;
    for (const std::string& path : place_->listing())
        if (path.starts_with("elsewhere/") && path.ends_with(".jpg")) other = path;
    ASSERT_FALSE(other.empty());
    fs::copy_file(*place_ / other, *place_ / "changed/checkers/zz.jpg");
    const json changed = answers({"eval", "changed"});
    EXPECT_EQ(changed["new_files"], 1);
    EXPECT_EQ(changed["missing_files"], 1);
    EXPECT_LE(changed["held_out"], 6);
    EXPECT_GE(changed["held_out"], 5);
    EXPECT_EQ(changed["n"].get<int>(), changed["held_out"].get<int>() + 1);
    EXPECT_EQ(answers({"eval", "changed", "--all"})["n"], 24);
    EXPECT_FALSE(answers({"eval", "changed", "--all"}).contains("held_out"));
    const Outcome said = run({"eval", "changed"});
    EXPECT_NE((said.out + said.err).find("1 image new since then: evaluated, too"), std::string::npos)
        << said.out << said.err;

    // Another folder with the same names has nothing to do with the training.
    const json same_names = answers({"eval", "elsewhere"});
    EXPECT_EQ(same_names["n"], 9);
    EXPECT_FALSE(same_names.contains("held_out"));

    // Alone, what was trained on is nothing to evaluate on.
    fs::create_directory(*place_ / "seen");
    for (const char* name : {"checkers", "rings", "spots"}) fs::create_directory(*place_ / "seen" / name);
    const json losses = answers({"eval", "data", "--top-losses", "6"})["top_losses"];
    for (const std::string& image : images_) {
        bool held_out = false;
        for (const json& loss : losses) held_out |= loss["file"].get<std::string>().ends_with(image);
        if (!held_out) fs::copy_file(*place_ / image, *place_ / ("seen" + image.substr(4)));
    }
    const Outcome seen = run({"eval", "seen"});
    EXPECT_EQ(seen.code, 3);
    EXPECT_NE(seen.err.find("the model was trained on every image of it"), std::string::npos) << seen.err;
    EXPECT_EQ(answers({"eval", "seen", "--all"})["n"], 18) << "as the message says";
}

TEST_F(EvalPredict, what_is_bad_is_an_entry_and_not_the_end) {
    const json mixed = answers(
        {"predict", "broken.jpg", "missing.jpg", images_[0], "empty", images_[1], "--batch-size", "2"});
    ASSERT_EQ(mixed.size(), 5u);
    for (const std::size_t i : {0, 1, 3}) {
        EXPECT_TRUE(mixed[i].contains("error")) << mixed[i];
        EXPECT_TRUE(mixed[i]["top"].empty());
    }
    for (const std::size_t i : {2, 4}) {
        EXPECT_FALSE(mixed[i].contains("error"));
        EXPECT_EQ(mixed[i]["top"].size(), 3u);
    }
    const Outcome text = run({"predict", "broken.jpg", images_[0], "--quiet"});
    EXPECT_EQ(text.code, 0);
    EXPECT_EQ(std::count(text.out.begin(), text.out.end(), '\n'), 1) << text.out;
    EXPECT_NE(text.err.find("broken.jpg"), std::string::npos) << text.err;

    for (const Words& words :
         {Words{"predict", "broken.jpg", "missing.jpg"}, Words{"predict", "empty"}, Words{"predict", "-"}}) {
        const Outcome none = run(words);
        EXPECT_EQ(none.code, 3);
        EXPECT_EQ(none.out, "");
        EXPECT_EQ(std::count(none.err.begin(), none.err.end(), '\n'), 1) << none.err;
    }
}

TEST_F(EvalPredict, an_evaluation_tells_of_classes_pairs_and_the_worst_images) {
    const json plain = answers({"eval", "data", "--all"});
    const json told = answers({"eval", "data", "--all", "--top-losses", "4", "--svg", "confusion.svg"});
    for (const json& entry : plain["per_class"]) {
        EXPECT_EQ(entry["support"], 8);
        const double p = entry["precision"], r = entry["recall"];
        EXPECT_NEAR(entry["f1"].get<double>(), p + r > 0 ? 2 * p * r / (p + r) : 0, 1e-12);
    }
    std::int64_t wrong = 0;
    for (const json& pair : plain["most_confused"]) {
        EXPECT_NE(pair["class"], pair["predicted"]);
        wrong += pair["count"].get<std::int64_t>();
    }
    EXPECT_NEAR(plain["accuracy"].get<double>(), 1 - static_cast<double>(wrong) / 24, 1e-12);
    EXPECT_TRUE(plain["top_losses"].empty());
    ASSERT_EQ(told["top_losses"].size(), 4u);
    const json& worst = told["top_losses"][0];
    EXPECT_TRUE(std::count(images_.begin(), images_.end(), worst["file"]));
    EXPECT_NE(worst["file"].get<std::string>().find(worst["class"].get<std::string>()), std::string::npos);
    EXPECT_GE(worst["loss"].get<double>(), told["loss"].get<double>());
    EXPECT_EQ(told["confusion"], plain["confusion"]);
    EXPECT_TRUE(place_->read("confusion.svg").starts_with("<svg"));
    EXPECT_NE(answers({"eval", "data", "--all", "--tta"})["loss"], plain["loss"]);

    const Outcome text = run({"eval", "data", "--all", "--top-losses", "1"});
    for (const char* part : {"precision", "F1", "by column", "Most confused", "Highest losses"})
        EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
    EXPECT_EQ(run({"eval", "data", "--svg", "nowhere/confusion.svg"}).code, 5);
    EXPECT_EQ(run({"eval", "data", "--top-losses", "-1"}).code, 2);
}

TEST_F(EvalPredict, other_classes_are_refused_with_their_names) {
    std::filesystem::copy(*place_ / "data", *place_ / "other", std::filesystem::copy_options::recursive);
    const std::string first = images_[0].substr(5, images_[0].find('/', 5) - 5);
    std::filesystem::rename(*place_ / ("other/" + first), *place_ / "other/zebra");
    const Outcome refused = run({"eval", "other"});
    EXPECT_EQ(refused.code, 4);
    EXPECT_NE(refused.err.find("(" + first + ")"), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("(zebra)"), std::string::npos) << refused.err;

    std::filesystem::remove_all(*place_ / "other/zebra");
    EXPECT_EQ(run({"eval", "other"}).code, 4);
    std::filesystem::create_directory(*place_ / ("other/" + first));
    const Outcome without = run({"eval", "other", "--all", "--json"});
    EXPECT_EQ(without.code, 0) << "a class without images: " << without.err;
    EXPECT_EQ(json::parse(without.out)["per_class"][0]["support"], 0);
}

}  // namespace
}  // namespace onecycle::test
