// Bad input: every row ends with one line that names the fault, the right exit code, and nothing
// left behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "cli/program.h"

namespace onecycle::test {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

struct Row {
    int code;
    std::string names;  // what the line must hold
    Words words;
};

// A workplace with a good folder (data), and all that can be wrong with one.
class BadInput : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        place_ = new Workplace;
        const Outcome made =
            place_->run({"demo-data", "data", "--classes", "2", "--images", "6", "--size", "48"});
        ASSERT_EQ(made.code, 0) << made.err;
        fs::create_directories(*place_ / "empty");
        fs::create_directories(*place_ / "emptyclasses/a");
        fs::create_directories(*place_ / "emptyclasses/b");
        fs::create_directories(*place_ / "oneclass");
        fs::copy(*place_ / "data" / first_class(), *place_ / "oneclass/a");
        fs::create_directories(*place_ / "flat");
        fs::copy(*place_ / "data" / first_class(), *place_ / "flat");
        place_->write("full/note.txt", "keep me");
        place_->write("a_file", "text");
        place_->write("broken.safetensors", "not a model");
        place_->write("cut.safetensors", std::string("\x10\0\0\0\0\0\0\0{\"a\":", 13));
        place_->write("other.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
        place_->write("text.jpg", "<html>no</html>");
        for (int i = 0; i < 8; ++i) {
            place_->write("bad/a/" + std::to_string(i) + ".jpg", "");
            place_->write("bad/b/" + std::to_string(i) + ".jpg", "");
        }
        place_->write("nojson.json", "{");
        place_->write("unknown.json", "{\"no_such_option\": 1}");
        place_->write("value.json", "{\"momentum\": \"much\"}");
        place_->write("torn/config.json", "{\"data\": ");
        place_->write("columns.csv", "rate,value\n1,2\n");
        place_->write("empty.csv", "");
        place_->write("header.csv", "lr,loss\n");
        place_->write("cell.csv", "lr,loss\n1e-3,1\n2e-3,many\n");
        place_->write("short_row.csv", "lr,loss\n1e-3,1\n2e-3\n");
        place_->write("falling.csv", "lr,loss\n1e-3,1\n1e-4,1\n1e-5,2\n");
        place_->write("negative.csv", "lr,loss\n-1e-3,1\n1e-4,1\n");
    }
    static void TearDownTestSuite() { delete place_; }

    static std::string first_class() {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(*place_ / "data"))
            names.push_back(entry.path().filename().string());
        return *std::min_element(names.begin(), names.end());
    }

    static void check(const Row& row) {
        std::string shown = "onecycle";
        for (const std::string& word : row.words) shown += " " + (word.empty() ? "''" : word);
        SCOPED_TRACE(shown);
        const auto before = place_->listing();
        const Outcome outcome = place_->run(row.words);
        EXPECT_EQ(outcome.code, row.code) << outcome.err;
        EXPECT_EQ(outcome.out.find("error:"), std::string::npos);
        std::size_t errors = 0;
        std::string line;
        for (std::size_t from = 0; from < outcome.err.size();) {
            const std::size_t to = outcome.err.find('\n', from);
            const std::string next = outcome.err.substr(from, to - from);
            if (next.rfind("error: ", 0) == 0) {
                ++errors;
                line = next;
            }
            if (to == std::string::npos) break;
            from = to + 1;
        }
        EXPECT_EQ(errors, 1u) << outcome.err;
        EXPECT_NE(line.find(row.names), std::string::npos) << line;
        EXPECT_NE(line.find("; fix: "), std::string::npos) << line;
        EXPECT_EQ(place_->listing(), before);
    }

    static inline Workplace* place_ = nullptr;
};

TEST_F(BadInput, every_option_of_train_out_of_range_is_refused_by_name) {
    const std::vector<std::pair<std::string, Words>> wrong = {
        {"--arch", {"resnet1000", "vgg16", ""}},
        {"--size", {"0", "-5", "31", "100000", "abc", "64.5", "99999999999999", ""}},
        {"--sizes",
         {"", "64", "64:", ":2", "64:2,", "64:0", "64:-1", "31:2", "64:2,5000:1", "64:1.5", "a:b", "64:2:3"}},
        {"--batch-size", {"0", "1", "-1", "abc", "1e3"}},
        {"--epochs", {"0", "-1", "1.5", "abc", "99999999999999999999"}},
        {"--max-lr", {"0", "-1", "nan", "inf", "abc", "1,5", "0x1p3"}},
        {"--policy",
         {"sine", "", "steps:", "steps:a", "restarts:0", "knots:", "knots:0=", "onecycle:nobody"}},
        {"--optimizer", {"adagrad", ""}},
        {"--momentum", {"1", "-0.1", "0.95:0.85", "a:b", "0.8:", ""}},
        {"--weight-decay", {"-1", "nan", "abc"}},
        {"--label-smoothing", {"1", "-0.1", "abc"}},
        {"--mixup", {"-0.1", "nan", "inf", "1001", "abc", ""}},
        {"--cutmix", {"-1", "nan", "inf", "1e9", "abc", ""}},
        {"--augment", {"heavy", ""}},
        {"--stem", {"tiny"}},
        {"--class-weights", {"heavy"}},
        {"--crop-pct", {"0", "1.5", "-1", "abc"}},
        {"--mean", {"1,2", "a,b,c", "1,2,3,4", "nan,0,0"}},
        {"--std", {"1,1", "0,1,1", "-1,1,1"}},
        {"--seed", {"-1", "abc", "1.5"}},
        {"--threads", {"-1", "abc"}},
        {"--bad-images", {"maybe"}},
        {"--max-bad", {"2", "-1", "120%", "x%", "%"}},
        {"--checkpoint-every", {"-1", "abc"}},
        {"--valid-fraction", {"1", "-1", "abc"}},
        {"--pct-start", {"2", "-1", "abc"}},
        {"--div", {"0", "-1"}},
        {"--final-div", {"0", "-1"}},
        {"--anneal", {"zigzag"}},
        {"--clip-norm", {"-1", "inf"}},
        {"--accumulate", {"0", "-1", "1.5"}},
        {"--ema", {"1", "-1"}},
        {"--progress", {"fancy"}},
        {"--device", {"tpu"}},
        {"--precision", {"fp8"}},
        {"--input", {"disk", ""}},
        {"--out", {""}},
        {"--config", {""}},
        {"--resume", {""}},
    };
    for (const auto& [option, values] : wrong)
        for (const std::string& value : values) check({2, option, {"train", "data", option, value}});
    check({2, "sum to 5", {"train", "data", "--sizes", "64:2,128:3", "--epochs", "6"}});
    check({2, "--sizes with --size", {"find", "data", "--sizes", "64:2,128:3", "--size", "128"}});
    check({2, "--beta2", {"train", "data", "--optimizer", "adam", "--beta2", "1"}});
    check({2, "--eps", {"train", "data", "--optimizer", "adam", "--eps", "0"}});
    check({2, "--nesterov", {"train", "data", "--optimizer", "adamw", "--nesterov"}});
    check({2, "--div", {"train", "data", "--policy", "cosine", "--div", "10"}});
    check({7, "--device", {"train", "data", "--device", "cuda"}});
    check({7, "--precision", {"train", "data", "--precision", "bf16"}});
}

TEST_F(BadInput, an_option_without_its_value_or_unknown_is_refused_by_name) {
    for (const char* option : {"--arch", "--size", "--batch-size", "--epochs", "--max-lr", "--policy",
                               "--out", "--resume", "--config"})
        check({2, option, {"train", "data", option}});
    for (const char* flag : {"--nesterov", "--three-phase", "--json", "--quiet"})
        for (const char* value : {"banana", "7", "0", "yes"})
            check({2, std::string(flag) + "=" + value, {"train", "data", std::string(flag) + "=" + value}});
    check({2, "--tta=7", {"eval", "data", "--model", "x", "--tta=7"}});
    check({2, "--epoch", {"train", "data", "--epoch", "3"}});
    check({2, "did you mean --epochs", {"train", "data", "--epoch", "3"}});
    check({2, "--max_lr", {"train", "data", "--max_lr=1"}});
    check({2, "more", {"train", "data", "more"}});
    check({2, "options begin with --; fix: did you mean --size 64?", {"train", "data", "size=64"}});
    check({2, "did you mean train", {"trian", "data"}});
    check({2, "no verb", {}});
    for (const char* verb : {"find", "train", "eval"}) check({2, "DATA", {verb}});
    check({2, "PATH", {"predict", "--model", "runs/x"}});
    check({2, "FILE", {"info"}});
    check({2, "DIR", {"demo-data"}});
    check({2, "M", {"export"}});
    check({2, "--to", {"export", "data"}});
    check({2, "--model", {"eval", "data"}});
    check({2, "--model", {"predict", "a.jpg"}});
}

TEST_F(BadInput, a_folder_that_cannot_be_trained_on_is_refused) {
    for (const char* verb : {"find", "train"}) {
        for (const char* folder : {"missing", "a_file", "empty", "emptyclasses", "oneclass", "flat", "bad"})
            check({3, folder, {verb, folder, "--size", "32"}});
        check({3, "missing", {verb, "data", "--valid", "missing", "--size", "32"}});
        check({3, first_class(), {verb, "data/" + first_class(), "--size", "32"}});
    }
    check({3, "bad", {"train", "bad", "--bad-images", "fail"}});
}

TEST_F(BadInput, every_file_that_was_left_out_is_listed_in_the_output_folder) {
    fs::copy(*place_ / "data", *place_ / "some_bad", fs::copy_options::recursive);
    for (int k = 0; k < 11; ++k)
        place_->write("some_bad/" + first_class() + "/bad" + std::to_string(k) + ".jpg", "text");
    const Outcome outcome =
        place_->run({"find", "some_bad", "--max-bad", "50%", "--arch", "resnet18", "--size", "32",
                     "--batch-size", "4", "--steps", "2", "--out", "found"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.err.find("left out 11 of 23 images"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("and 1 more"), std::string::npos) << outcome.err;
    const std::string list = place_->read("found/bad-images.txt");
    EXPECT_EQ(std::count(list.begin(), list.end(), '\n'), 11) << list;
    EXPECT_NE(list.find("bad10.jpg\tnot an image (starts with 'text')\n"), std::string::npos) << list;
}

TEST_F(BadInput, an_output_folder_that_cannot_be_used_is_refused_before_any_work) {
    for (const char* verb : {"find", "train"}) {
        check({5, "full", {verb, "data", "--out", "full"}});
        check({5, "a_file", {verb, "data", "--out", "a_file"}});
        check({5, "a_file", {verb, "data", "--out", "a_file/below"}});
        check({5, "/proc/", {verb, "data", "--out", "/proc/onecycle"}});
    }
    check({5, "full", {"demo-data", "full"}});
    check({5, "a_file", {"demo-data", "a_file/below"}});
}

TEST_F(BadInput, a_file_that_is_no_model_is_refused) {
    for (const char* file :
         {"missing", "broken.safetensors", "cut.safetensors", "other.safetensors", "empty", "a_file"}) {
        check({4, file, {"eval", "data", "--model", file}});
        check({4, file, {"predict", "data", "--model", file}});
        if (std::string(file) != "other.safetensors") check({4, file, {"info", file}});
        if (std::string(file) != "empty") check({4, file, {"train", "data", "--size", "32", "--init", file}});
    }
    for (const char* run : {"missing", "empty", "full", "a_file", "torn"})
        check({4, run, {"train", "--resume", run}});
    check({5, "missing.json", {"train", "data", "--config", "missing.json"}});
    check({2, "nojson.json", {"train", "data", "--config", "nojson.json"}});
    check({2, "no_such_option", {"train", "data", "--config", "unknown.json"}});
    check({2, "value.json: \"momentum\"", {"train", "data", "--config", "value.json"}});
}

TEST_F(BadInput, a_saved_curve_that_is_malformed_is_refused) {
    check({5, "missing.csv", {"find", "--from-csv", "missing.csv"}});
    for (const char* file : {"columns.csv", "empty.csv", "header.csv", "cell.csv", "short_row.csv",
                             "falling.csv", "negative.csv", "broken.safetensors"})
        check({3, file, {"find", "--from-csv", file}});
    check({2, "--smoothed", {"find", "data", "--smoothed"}});
    check({2, "data", {"find", "data", "--from-csv", "missing.csv"}});
    check({2, "--sweep", {"find", "--from-csv", "missing.csv", "--sweep", "momentum=0.8,0.9"}});
}

TEST_F(BadInput, no_line_shows_control_characters_or_long_names_of_files_whole) {
    const std::string longest(3000, 'x'), tricky = "a\x1b[31mred\x07";
    std::string table = "file,label\n";
    for (const auto& entry : fs::recursive_directory_iterator(*place_ / "data")) {
        const std::string name = fs::relative(entry.path(), *place_ / "data").native();
        if (entry.is_regular_file())
            table += name + ',' + (name.starts_with(first_class()) ? longest : tricky) + '\n';
    }
    place_->write("labels.csv", table);
    const Words run = {"train",        "data", "--labels", "labels.csv", "--arch",   "resnet9",
                       "--size",       "16",   "--epochs", "1",          "--max-lr", "0.01",
                       "--batch-size", "4",    "--out",    "named"};
    const Words image = {"predict", *place_ / "data" / first_class(), "--model", "named"};
    for (const Words& words : {run, {"eval", "data", "--model", "named"}, {"info", "named"}, image}) {
        const Outcome outcome = place_->run(words);
        ASSERT_EQ(outcome.code, 0) << outcome.err;
        const std::string all = outcome.out + outcome.err;
        EXPECT_EQ(all.find_first_of("\x1b\x07"), std::string::npos) << words[0];
        EXPECT_EQ(all.find(std::string(201, 'x')), std::string::npos) << words[0];
    }
    fs::remove_all(*place_ / "named");
}

TEST_F(BadInput, options_of_the_other_verbs_are_checked_too) {
    const std::vector<std::pair<std::string, Words>> find = {
        {"--start-lr", {"0", "-1", "20", "abc"}},
        {"--end-lr", {"0", "1e-9"}},
        {"--steps", {"1", "0", "-5", "abc"}},
        {"--ramp", {"square"}},
        {"--sweep",
         {"x", "x=1", "weight-decay=", "weight-decay=a", "weight-decay=-1", "momentum=1", "batch-size=0"}}};
    for (const auto& [option, values] : find)
        for (const std::string& value : values) check({2, "--", {"find", "data", option, value}});
    const std::vector<std::pair<std::string, Words>> plan = {
        {"--epochs", {"0"}}, {"--steps-per-epoch", {"0", "-1", "99999999999"}}, {"--max-lr", {"0", "auto"}}};
    for (const auto& [option, values] : plan)
        for (const std::string& value : values) check({2, "--", {"plan", option, value}});
    const std::vector<std::pair<std::string, Words>> program = {
        {"--arch", {"vgg"}},  {"--size", {"0", "31"}}, {"--batch-size", {"0"}},
        {"--classes", {"0"}}, {"--mode", {"sleep"}},   {"--stem", {"x"}}};
    for (const auto& [option, values] : program)
        for (const std::string& value : values) check({2, "--", {"plan", "--program", option, value}});
    const std::vector<std::pair<std::string, Words>> demo = {
        {"--classes", {"1", "1000"}}, {"--images", {"0", "1"}}, {"--size", {"0", "-1"}}};
    for (const auto& [option, values] : demo)
        for (const std::string& value : values) check({2, "--", {"demo-data", "new", option, value}});
    check({2, "--top", {"predict", "text.jpg", "--model", "x", "--top", "0"}});
}

}  // namespace
}  // namespace onecycle::test
