// What a person sees on a terminal: lines that fit it, and an answer to Ctrl-C.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "cli/program.h"
#include "report/text.h"

namespace onecycle::test {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

// The lines as they stand on the screen in the end: what a progress bar overwrote is gone.
std::vector<std::string> screen(const std::string& shown) {
    std::vector<std::string> lines;
    std::istringstream stream(shown);
    for (std::string line; std::getline(stream, line);) {
        if (line.ends_with('\r')) line.pop_back();
        for (std::size_t at; (at = line.find("\r\x1b[K")) != std::string::npos;) line.erase(0, at + 4);
        lines.push_back(line);
    }
    return lines;
}

// Words and their order, whatever the lines.
std::string words_of(const std::string& shown) {
    std::string all;
    for (const std::string& line : screen(shown)) {
        std::istringstream stream(line);
        for (std::string word; stream >> word;)
            if (word != "\\") all += word + " ";
    }
    return all;
}

// Runs at 60, 80 and 140 columns: every line fits, and all words stand there whole, as in a pipe.
void expect_wrapped(const Workplace& place, const Words& words, bool same_words = true) {
    const Outcome pipe = place.run(words);
    for (const int width : {60, 80, 140}) {
        SCOPED_TRACE(words.front() + " at " + std::to_string(width) + " columns");
        const Outcome outcome = place.run_on_terminal(width, words);
        EXPECT_EQ(outcome.code, pipe.code) << outcome.out;
        for (const std::string& line : screen(outcome.out)) {
            EXPECT_LE(columns(line), width) << line;
        }
        if (!same_words) continue;
        EXPECT_EQ(words_of(outcome.out), words_of(pipe.out + pipe.err));
    }
}

// Two classes whose names are as wide as they look, in images that train in a second.
void make_photos(const Workplace& place, int images = 12) {
    ASSERT_EQ(place
                  .run({"demo-data", "photos", "--classes", "3", "--images", std::to_string(images), "--size",
                        "40"})
                  .code,
              0);
    fs::rename(place / "photos" / "rings", place / "photos" / "日本のとても長い名前の犬たちとその友達");
}

const Words quick = {"--arch", "resnet18", "--size", "32",        "--batch-size",
                     "8",      "--epochs", "1",      "--augment", "none"};

Words with(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

TEST(Terminal, help_fits_and_breaks_no_word) {
    const Workplace place;
    for (const Words& words : {Words{"--help"}, {"train", "--help"}, {"help", "finetune"}, {"plan", "-h"}})
        expect_wrapped(place, words);
}

TEST(Terminal, errors_and_warnings_fit_and_break_no_word) {
    const Workplace place;
    expect_wrapped(place, {"train", "photos", "--no-such-option", "with a value"});
    expect_wrapped(place, {"find", "photographs/that/nobody/has/taken/yet", "--arch", "resnet18"});
    make_photos(place);
    place.write("photos/spots/写真の説明.jpg", "no image");
    expect_wrapped(place, {"eval", "photos", "--model", "nothing here"});
    expect_wrapped(place, {"find", "photos", "--bad-images", "fail", "--size", "32"});
}

TEST(Terminal, sentences_class_counts_and_the_table_of_epochs_fit) {
    const Workplace place;
    make_photos(place);
    for (const int width : {60, 80, 140}) {
        SCOPED_TRACE(width);
        const Outcome outcome =
            place.run_on_terminal(width, with({"train", "photos", "--out", std::to_string(width)}, quick));
        ASSERT_EQ(outcome.code, 0) << outcome.out;
        for (const std::string& line : screen(outcome.out)) EXPECT_LE(columns(line), width) << line;
        EXPECT_NE(words_of(outcome.out).find("日本のとても長い名前の犬たちとその友達 10 + 2"),
                  std::string::npos)
            << outcome.out;
        EXPECT_NE(
            words_of(outcome.out).find("Fewer than 200 images a class to learn from: `onecycle finetune"),
            std::string::npos);
        // Epochs count from 0, here as in the files.
        EXPECT_NE(outcome.out.find("\n    0  "), std::string::npos) << outcome.out;
        EXPECT_NE(place.read(std::to_string(width) + "/metrics.csv").find("\n0,"), std::string::npos);
        // Narrow tables lose columns from the right, in all of their rows.
        EXPECT_EQ(outcome.out.find("images/s  seconds") != std::string::npos, width >= 80) << outcome.out;
    }
    expect_wrapped(place, {"info", "60"});
    for (const std::string& path : place.listing()) EXPECT_EQ(path.find(".lock"), std::string::npos) << path;
    expect_wrapped(place, {"eval", "photos", "--model", "60"}, false);
    expect_wrapped(place, {"predict", "photos/spots", "--model", "60"});
}

TEST(Terminal, a_command_that_does_not_fit_is_broken_as_a_shell_takes_it) {
    const std::string command = "  onecycle predict IMAGE --model " + std::string(30, 'm') + " --top 3";
    EXPECT_EQ(wrapped(command, 60),
              "  onecycle predict IMAGE --model \\\n    " + std::string(30, 'm') + " --top 3");
}

TEST(Terminal, ctrl_c_is_answered_at_once_and_a_second_one_ends_all) {
    const Workplace place;
    make_photos(place);
    const Words long_run = with({"train", "photos", "--max-lr", "0.01"}, with(quick, {"--epochs", "1000"}));
    const Outcome once = place.run_on_terminal(80, long_run, {"epoch 0"});
    EXPECT_EQ(once.code, 130) << once.out;
    EXPECT_NE(words_of(once.out).find("Stopping, and saving what was reached. Ctrl-C again"),
              std::string::npos)
        << once.out;
    EXPECT_NE(once.out.find("--resume runs/photos"), std::string::npos) << once.out;
    EXPECT_TRUE(fs::exists(place / "runs/photos/latest"));

    const Outcome twice = place.run_on_terminal(80, with(long_run, {"--out", "twice", "--batch-size", "30"}),
                                                {"epoch 0", "Stopping"});
    EXPECT_EQ(twice.code, 130) << twice.out;
    EXPECT_EQ(twice.out.find("--resume"), std::string::npos) << twice.out;

    const Outcome test = place.run_on_terminal(80, with({"find", "photos"}, quick), {"find "});
    EXPECT_EQ(test.code, 130) << test.out;
    EXPECT_NE(test.out.find("Stopping. Ctrl-C again stops at once."), std::string::npos) << test.out;
    EXPECT_FALSE(fs::exists(place / "runs/photos-find"));
}

}  // namespace
}  // namespace onecycle::test
