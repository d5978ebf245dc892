// eval and predict as a user meets them.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/program.h"
#include "onecycle/error.h"

namespace onecycle::test {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class EvalPredict : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        place_ = new Workplace;
        images_.clear();
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

TEST_F(EvalPredict, json_holds_names_whole_and_sends_nothing_hidden_to_a_terminal) {
    std::filesystem::create_directories(*place_ / "named/rings");
    std::vector<std::string> files;
    for (const char* name :
         {"csi \u009b31m", "del \x7f", "next line \u0085", "right to left \u202e", "isolate \u2066",
          "line \u2028", "tag \U000e0041", "none \uffff", "esc \x1b[2J", "seen \U0001f431 \u00e9"}) {
        files.push_back(std::string("named/rings/") + name + ".jpg");
        std::filesystem::copy_file(*place_ / images_[0], *place_ / files.back());
    }
    std::ranges::sort(files);
    const auto whole = [](const Outcome& outcome) {
        EXPECT_EQ(outcome.code, 0) << outcome.err;
        std::string line;
        for (std::istringstream lines(outcome.out); std::getline(lines, line);)
            EXPECT_EQ(printable(line), line);
        return json::parse(outcome.out);
    };
    std::vector<std::string> answered;
    for (const json& entry : whole(run({"predict", "named", "--json"}))) answered.push_back(entry["file"]);
    std::ranges::sort(answered);
    EXPECT_EQ(answered, files);
    std::vector<std::string> lost;
    const json evaluation = whole(run({"eval", "named", "--all", "--top-losses", "99", "--json"}));
    for (const json& entry : evaluation["top_losses"]) lost.push_back(entry["file"]);
    std::ranges::sort(lost);
    EXPECT_EQ(lost, files);
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

TEST_F(EvalPredict, the_picture_replaces_nothing_but_a_picture_of_ours_or_what_it_is_told_to) {
    namespace fs = std::filesystem;
    const auto code = [&](std::vector<std::string> extra) {
        std::vector<std::string> words = {"eval", "data", "--all", "--svg"};
        words.insert(words.end(), extra.begin(), extra.end());
        const Outcome outcome = run(words);
        EXPECT_TRUE(outcome.code == 0 || outcome.err.find("fix: ") != std::string::npos) << outcome.err;
        return outcome.code;
    };
    EXPECT_EQ(code({"again.svg"}), 0);
    EXPECT_EQ(code({"again.svg"}), 0) << "drawn again";

    place_->write("notes.txt", "of mine");
    fs::create_symlink("notes.txt", *place_ / "link");
    fs::create_symlink("nowhere", *place_ / "dangling");
    fs::create_directory(*place_ / "folder");
    ASSERT_EQ(::mkfifo((*place_ / "pipe").c_str(), 0600), 0);
    for (const char* bad : {"link", "dangling", "folder", "pipe", "/dev/null", "/dev/full"}) {
        EXPECT_EQ(code({bad}), 5) << bad;
        EXPECT_EQ(code({bad, "--force"}), 5) << bad;
    }
    EXPECT_EQ(code({"notes.txt"}), 5);
    EXPECT_EQ(place_->read("notes.txt"), "of mine");
    EXPECT_TRUE(fs::is_symlink(*place_ / "link") && fs::is_fifo(*place_ / "pipe"));
    EXPECT_FALSE(fs::exists(*place_ / "nowhere"));
    EXPECT_EQ(code({"notes.txt", "--force"}), 0);
    EXPECT_TRUE(place_->read("notes.txt").starts_with("<svg"));
}

TEST_F(EvalPredict, other_classes_are_refused_with_their_names) {
    std::filesystem::copy(*place_ / "data", *place_ / "other", std::filesystem::copy_options::recursive);
    const std::string first = images_[0].substr(5, images_[0].find('/', 5) - 5);
    std::filesystem::rename(*place_ / ("other/" + first), *place_ / "other/zebra");
    const Outcome refused = run({"eval", "other"});
    EXPECT_EQ(refused.code, 4);
    EXPECT_NE(refused.err.find("(" + first + ")"), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("(zebra)"), std::string::npos) << refused.err;

    // A class without images, with a folder of its own and without one.
    std::filesystem::remove_all(*place_ / "other/zebra");
    for (int time = 0; time < 2; ++time) {
        const Outcome without = run({"eval", "other", "--all", "--json"});
        ASSERT_EQ(without.code, 0) << without.err;
        const json figures = json::parse(without.out);
        EXPECT_EQ(figures["n"], 16);
        EXPECT_EQ(figures["classes"][0], first);
        EXPECT_TRUE(figures["per_class"][0].is_null()) << figures["per_class"];
        const double recalls =
            figures["per_class"][1]["recall"].get<double>() + figures["per_class"][2]["recall"].get<double>();
        EXPECT_NEAR(figures["balanced_accuracy"].get<double>(), recalls / 2, 1e-12)
            << "of those that are there";
        const std::string text = run({"eval", "other", "--all"}).out;
        const std::string row = text.substr(text.find("\n" + first) + 1);
        EXPECT_NE(row.substr(0, row.find('\n')).find("0          –        –        –"), std::string::npos)
            << text;
        std::filesystem::create_directory(*place_ / ("other/" + first));
    }
}

// The safetensors file `from` as `to`: tensors renamed, with other metadata or none.
void copy_renamed(const Workplace& place, const std::string& from, const std::string& to,
                  const std::function<std::string(const std::string&)>& renamed,
                  const std::map<std::string, std::string>& metadata = {}) {
    const std::string bytes = place.read(from);
    std::uint64_t before = 0;
    std::memcpy(&before, bytes.data(), sizeof before);
    const json stored = json::parse(bytes.substr(8, before));
    json header = json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    for (const auto& [name, entry] : stored.items())
        if (name != "__metadata__") header[renamed(name)] = entry;
    const std::string text = header.dump();
    const std::uint64_t length = text.size();
    const std::string file(reinterpret_cast<const char*>(&length), sizeof length);
    place.write(to, file + text + bytes.substr(8 + before));
}

class NamelessModels : public EvalPredict {
  protected:
    static void SetUpTestSuite() {
        EvalPredict::SetUpTestSuite();
        ASSERT_EQ(place_->run({"export", "run", "--to", "own.safetensors"}).code, 0);
        copy_renamed(*place_, "own.safetensors", "nameless.safetensors",
                     [](const std::string& name) { return name; });
        copy_renamed(*place_, "own.safetensors", "prefixed.safetensors",
                     [](const std::string& name) { return "module._orig_mod." + name; });
        copy_renamed(*place_, "own.safetensors", "backbone.safetensors", [](const std::string& name) {
            return (name.starts_with("fc.") ? "head_of_another_kind." : "encoder_q.") + name;
        });
        for (const std::string& image : images_) {
            const std::string name = image.substr(5, image.find('/', 5) - 5);
            if (classes_.empty() || classes_.back() != name) classes_.push_back(name);
        }
        ASSERT_EQ(classes_.size(), 3u);
    }
    static std::string list(const std::vector<std::string>& names, const std::string& end = "\n") {
        std::string text;
        for (const std::string& name : names) text += name + end;
        return text;
    }
    static Outcome with(const std::string& model, Words words) {
        words.insert(words.end(), {"--model", model, "--size", "32"});
        return place_->run(words);
    }
    static inline std::vector<std::string> classes_;
};

TEST_F(NamelessModels, say_the_order_that_is_assumed_and_warn_where_others_sort_otherwise) {
    const Outcome plain = with("nameless.safetensors", {"eval", "data", "--all"});
    ASSERT_EQ(plain.code, 0) << plain.err;
    EXPECT_NE(plain.out.find("as torchvision sorts"), std::string::npos) << plain.out;
    EXPECT_NE(plain.out.find(classes_[0] + ", " + classes_[1] + ", " + classes_[2]), std::string::npos)
        << plain.out;
    EXPECT_EQ(plain.err, "");

    for (const auto& names : std::vector<std::vector<std::string>>{{"c1", "c10", "c2"}, {"B", "C", "a"}}) {
        std::filesystem::remove_all(*place_ / "numbered");
        for (std::size_t c = 0; c < 3; ++c) {
            std::filesystem::create_directories(*place_ / "numbered");
            std::filesystem::copy(*place_ / ("data/" + classes_[c]), *place_ / ("numbered/" + names[c]));
        }
        const Outcome numbered = with("nameless.safetensors", {"eval", "numbered", "--all", "--json"});
        ASSERT_EQ(numbered.code, 0) << numbered.err;
        EXPECT_NE(numbered.err.find("'" + names[1] + "' stands before '" + names[2] + "'"), std::string::npos)
            << numbered.err;
        // Its advice, followed: the order of the numbers.
        place_->write("order.txt", list({names[0], names[2], names[1]}));
        const Outcome told =
            with("nameless.safetensors", {"eval", "numbered", "--all", "--json", "--classes", "order.txt"});
        ASSERT_EQ(told.code, 0) << told.err;
        EXPECT_EQ(told.err.find("stands before"), std::string::npos) << told.err;
        EXPECT_EQ(json::parse(told.out)["classes"], (json{names[0], names[2], names[1]}));
        EXPECT_NE(json::parse(told.out)["loss"], json::parse(numbered.out)["loss"]);
    }
}

TEST_F(NamelessModels, info_of_a_megabyte_of_metadata_takes_no_longer_than_its_length) {
    std::string numbers, list = "[";
    while (numbers.size() < 1 << 20) numbers += "1,";
    while (list.size() < 1 << 20) list += "\"a\",";
    copy_renamed(*place_, "own.safetensors", "long.safetensors", [](const std::string& name) { return name; },
                 {{"numbers", numbers}, {"list", list}, {"text", std::string(1 << 20, 'a')}});
    const auto begin = std::chrono::steady_clock::now();
    const Outcome outcome = place_->run({"info", "long.safetensors"});
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.out.find("numbers      1, 1, 1"), std::string::npos) << outcome.out;
    EXPECT_NE(outcome.out.find("list         [\"a\", \"a\", \"a\""), std::string::npos) << outcome.out;
}

TEST_F(NamelessModels, take_names_from_a_file_of_any_make) {
    const std::vector<std::string> names = {"eine", "für", "zwei wörter"};
    const std::string mark = "\xEF\xBB\xBF";
    for (const std::string& text : std::vector<std::string>{
             list(names), list(names, "\r\n"), mark + list(names) + "\n\n", "eine\nfür \nzwei wörter"}) {
        place_->write("names.txt", text);
        const Outcome named =
            with("nameless.safetensors", {"predict", images_[0], "--json", "--classes", "names.txt"});
        ASSERT_EQ(named.code, 0) << named.err;
        for (const json& entry : json::parse(named.out)[0]["top"])
            EXPECT_EQ(entry["class"], names[entry["index"].get<std::size_t>()]);
    }
    // Exports carry them.
    for (const char* to : {"named.safetensors", "named.onnx"}) {
        ASSERT_EQ(place_->run({"export", "nameless.safetensors", "--to", to, "--classes", "names.txt"}).code,
                  0);
        EXPECT_NE(place_->read(to).find("zwei wörter"), std::string::npos) << to;
    }
    const json info = json::parse(place_->run({"info", "named.safetensors", "--json"}).out);
    EXPECT_EQ(info["classes"], json(names));
}

TEST_F(NamelessModels, refuse_a_list_that_is_none_in_a_line_that_names_the_place) {
    struct Bad {
        std::string text;
        int code;
        const char* part;
    };
    for (const Bad& bad :
         {Bad{"a\nb\n", 4, "2 names"}, Bad{"a\nb\nc\nd\n", 4, "4 names"},
          Bad{"a\n\nb\nc\n", 3, "names.txt line 2"}, Bad{"a\nb\na\n", 3, "line 3: \"a\" stands in line 1"},
          Bad{"", 3, "empty"}, Bad{"\n\r\n", 3, "empty"}, Bad{"a\nb\xff\nc\n", 3, "line 2: it is not"},
          Bad{std::string("\xff\xfe"
                          "a\0\n\0",
                          6),
              3, "UTF-8"}}) {
        place_->write("names.txt", bad.text);
        const Outcome refused = with("nameless.safetensors", {"eval", "data", "--classes", "names.txt"});
        EXPECT_EQ(refused.code, bad.code) << refused.err;
        EXPECT_NE(refused.err.find(bad.part), std::string::npos) << bad.part << "\n" << refused.err;
        EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
    }
    EXPECT_EQ(with("nameless.safetensors", {"eval", "data", "--classes", "nowhere.txt"}).code, 5);
    place_->write("names.txt", "a\nb\nc\n");
    const Outcome own = run({"eval", "data", "--classes", "names.txt"});
    EXPECT_EQ(own.code, 4) << "the model's own names are others";
    EXPECT_NE(own.err.find("leave --classes out"), std::string::npos) << own.err;
    place_->write("names.txt", list(classes_));
    EXPECT_EQ(run({"eval", "data", "--classes", "names.txt"}).code, 0) << "the same names";
    const Outcome none = place_->run({"train", "data", "--classes", "names.txt"});
    EXPECT_EQ(none.code, 2) << "there is no file whose classes they are: " << none.err;
}

TEST_F(NamelessModels, a_prefix_changes_no_answer) {
    const Outcome plain = with("nameless.safetensors", {"predict", images_[0], images_[9], "--json"});
    const Outcome prefixed = with("prefixed.safetensors", {"predict", images_[0], images_[9], "--json"});
    ASSERT_EQ(prefixed.code, 0) << prefixed.err;
    EXPECT_EQ(prefixed.out, plain.out);
    EXPECT_EQ(prefixed.err, "");
}

// The advice of the refusal, followed.
TEST_F(NamelessModels, a_backbone_serves_as_a_start_and_for_nothing_else) {
    for (const Words& words : {Words{"eval", "data"}, Words{"predict", images_[0]}}) {
        const Outcome refused = with("backbone.safetensors", words);
        EXPECT_EQ(refused.code, 4);
        EXPECT_NE(refused.err.find("no classifier"), std::string::npos) << refused.err;
        EXPECT_NE(refused.err.find("onecycle finetune DATA --init backbone.safetensors"), std::string::npos)
            << refused.err;
    }
    EXPECT_EQ(place_->run({"export", "backbone.safetensors", "--to", "x.onnx"}).code, 4);
    EXPECT_EQ(place_->run({"info", "backbone.safetensors"}).code, 0);
    const Outcome tuned =
        place_->run({"finetune", "data", "--init", "backbone.safetensors", "--size", "32", "--batch-size",
                     "8", "--epochs", "1", "--max-lr", "0.001", "--out", "tuned"});
    ASSERT_EQ(tuned.code, 0) << tuned.err;
    EXPECT_NE(tuned.out.find("it has no head"), std::string::npos) << tuned.out;
    EXPECT_EQ(place_->run({"eval", "data", "--model", "tuned"}).code, 0);
}

TEST_F(NamelessModels, a_head_without_names_is_kept_in_the_order_that_is_said_or_given) {
    const Words start = {
        "train", "data",     "--arch", "resnet18", "--size", "32",     "--batch-size",
        "8",     "--epochs", "1",      "--max-lr", "1e-4",   "--init", "nameless.safetensors"};
    Words assumed = start, given = start;
    assumed.insert(assumed.end(), {"--out", "assumed"});
    const Outcome said = place_->run(assumed);
    ASSERT_EQ(said.code, 0) << said.err;
    EXPECT_NE(said.out.find("as torchvision sorts"), std::string::npos) << said.out;
    place_->write("order.txt", list({classes_[2], classes_[0], classes_[1]}));
    given.insert(given.end(), {"--out", "given", "--classes", "order.txt"});
    const Outcome told = place_->run(given);
    ASSERT_EQ(told.code, 0) << told.err;
    EXPECT_NE(told.out.find("the head's rows were matched by name"), std::string::npos) << told.out;
}

}  // namespace
}  // namespace onecycle::test
