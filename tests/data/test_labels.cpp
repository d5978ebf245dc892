// Labels from a table or from file names give the data set that class folders with the same labels
// would give.
#include <gtest/gtest.h>

#include "data/folders.h"

using namespace onecycle;
using namespace onecycle::test;

namespace {

using Names = std::vector<std::string>;

// A flat folder with cat_0.png to cat_5.png and dog_0.png to dog_5.png, in `images`.
class LabelsTest : public ::testing::Test {
  protected:
    LabelsTest() { add_images(root_ / "images"); }

    static void add_images(const fs::path& folder) {
        for (int k = 0; k < 12; ++k) write(folder / file(k), bytes_of(images() / "one_pixel.png"));
    }
    static std::string file(int k) { return (k < 6 ? "cat_" : "dog_") + std::to_string(k % 6) + ".png"; }

    // Rows "prefix + file, label" for the first `rows` images.
    static std::string table(const std::string& prefix, int rows = 12) {
        std::string text = "file,label\n";
        for (int k = 0; k < rows; ++k) text += prefix + file(k) + (k < 6 ? ",cat\n" : ",dog\n");
        return text;
    }
    std::string write_table(const std::string& text) const {
        write(root_ / "labels.csv", text);
        return root_ / "labels.csv";
    }
    Opened open_with(const std::string& text, const std::string& folder = "images") const {
        return open(root_ / folder, {.labels = write_table(text)});
    }
    std::string refused(const std::string& text) const {
        return failure(root_ / "images", {.labels = write_table(text), .max_bad = 1});
    }

    const TemporaryFolder root_;
};

void expect_both(const Opened& opened) {
    EXPECT_EQ(opened.dataset.classes, (Names{"cat", "dog"}));
    EXPECT_EQ(class_counts(all_samples(opened.dataset), 2), (std::vector<std::int64_t>{6, 6}));
    for (const Sample& sample : all_samples(opened.dataset))
        EXPECT_NE(sample.path().find(sample.label ? "dog_" : "cat_"), std::string::npos) << sample.path();
}

}  // namespace

TEST_F(LabelsTest, a_table_labels_a_flat_folder) {
    const Opened opened = open_with(table(""));
    expect_both(opened);
    EXPECT_TRUE(opened.dataset.automatic_split);
    EXPECT_EQ(opened.dataset.valid.size(), 2u);
    EXPECT_EQ(opened.lines, "");
}

TEST_F(LabelsTest, tables_are_read_as_spreadsheets_and_scripts_write_them) {
    std::string text = table("");
    const auto replaced = [&](const std::string& from, const std::string& to) {
        std::string changed = text;
        for (std::size_t at = 0; (at = changed.find(from, at)) != std::string::npos; at += to.size())
            changed.replace(at, from.size(), to);
        return changed;
    };
    expect_both(open_with("\xEF\xBB\xBF" + replaced("\n", "\r\n")));
    expect_both(open_with(replaced(",", ";")));
    expect_both(open_with(replaced(",", "\t")));
    expect_both(open_with(replaced("file,label", "FILE,Label")));
    expect_both(open_with(replaced("cat_0.png,cat", "\"cat_0.png\" , \"cat\"")));
    expect_both(open_with(replaced(".png", "")));  // names without endings
    expect_both(open_with(replaced("cat_", "./cat_")));
    expect_both(open_with(replaced("\ncat_", "\n" + (root_ / "images").native() + "/cat_")));  // absolute
    expect_both(open_with(table("images/"), "."));
    expect_both(open_with(table("images\\"), "."));
    expect_both(open_with(table(""), "."));  // bare names, wherever the files lie

    write(root_ / "images/a, \"b\".png", bytes_of(images() / "one_pixel.png"));
    const Opened odd = open_with(text + "\"a, \"\"b\"\".png\",\"owl,\nlarge\"\n\n");
    EXPECT_EQ(odd.dataset.classes, (Names{"cat", "dog", "owl,\nlarge"}));
}

TEST_F(LabelsTest, a_column_split_says_the_sides) {
    std::string text = "split,file,label\n";
    for (int k = 0; k < 12; ++k)
        text += std::string(k % 3 == 0   ? "Test"
                            : k % 3 == 1 ? "VALID"
                                         : "training") +
                "," + file(k) + (k < 6 ? ",cat\n" : ",dog\n");
    const Opened opened = open_with(text);
    EXPECT_FALSE(opened.dataset.automatic_split);
    EXPECT_EQ(names(opened.dataset.train), (Names{"cat_2.png", "cat_5.png", "dog_2.png", "dog_5.png"}));
    EXPECT_EQ(names(opened.dataset.valid), (Names{"cat_1.png", "cat_4.png", "dog_1.png", "dog_4.png"}));
    EXPECT_TRUE(opened.said("4 images of the split test kept apart"));
    DatasetOptions evaluation{.labels = root_ / "labels.csv", .use = DatasetUse::evaluation};
    EXPECT_EQ(names(open_dataset(root_ / "images", evaluation).valid), names(opened.dataset.valid));
}

TEST_F(LabelsTest, side_folders_stay_sides_under_a_table) {
    for (int k = 0; k < 12; ++k) {
        const std::string side = k % 3 == 0 ? "valid" : "train";
        write(root_ / ("sides/" + side + "/" + file(k)), bytes_of(images() / "one_pixel.png"));
    }
    const Opened opened = open_with(table(""), "sides");
    EXPECT_EQ(opened.dataset.train.size(), 8u);
    EXPECT_EQ(opened.dataset.valid.size(), 4u);
    EXPECT_FALSE(opened.dataset.automatic_split);
    // A test folder that the table does not know.
    fs::rename(root_ / "sides/valid", root_ / "sides/test");
    const std::string trained =
        write_table("file,label\ntrain/cat_1.png,cat\ntrain/cat_2.png,cat\ntrain/dog_1.png,dog\n");
    const Opened unlabelled = open(root_ / "sides", {.labels = trained});
    EXPECT_TRUE(unlabelled.dataset.automatic_split);
    EXPECT_TRUE(unlabelled.said("nothing is evaluated on it"));
}

TEST_F(LabelsTest, bare_names_mean_the_training_side_where_the_test_side_has_them_too) {
    for (const char* side : {"train", "test"}) add_images(root_ / ("both/" + std::string(side)));
    const Opened opened = open_with(table(""), "both");
    expect_both(opened);
    EXPECT_TRUE(opened.dataset.automatic_split);
    EXPECT_TRUE(opened.said("nothing is evaluated on it"));
    EXPECT_EQ(opened.warnings, "");
}

TEST_F(LabelsTest, files_that_are_missing_or_not_listed_are_named) {
    const Opened few = open_with(table("", 11));
    EXPECT_TRUE(few.warned("left out 1 image without a label, not in " + (root_ / "labels.csv").native() +
                           ": dog_5.png"));
    const Opened missing =
        open(root_ / "images", {.labels = write_table(table("") + "gone.png,cat\n"), .max_bad = 0.1});
    expect_both(missing);
    ASSERT_EQ(missing.dataset.bad.size(), 1u);
    EXPECT_EQ(missing.dataset.bad[0].reason, "no such file");
    EXPECT_TRUE(missing.warned("gone.png: no such file"));
    EXPECT_NE(refused(table("elsewhere/")).find("write paths below DATA"), std::string::npos);
    EXPECT_EQ(
        open(root_ / "images", {.exclude = {"dog_5*"}, .labels = write_table(table(""))}).dataset.bad.size(),
        0u);
}

TEST_F(LabelsTest, a_table_that_contradicts_itself_is_refused_by_line) {
    EXPECT_NE(refused(table("") + "cat_0.png,dog\n")
                  .find("line 14: 'cat_0.png' is 'dog' here, but 'cat' in line 2"),
              std::string::npos);
    expect_both(open_with(table("") + "cat_0.png,cat\n"));
    EXPECT_NE(refused("id,breed\n1,cat\n").find("no column 'file', only id,breed"), std::string::npos);
    EXPECT_NE(refused("").find("the file is empty"), std::string::npos);
    EXPECT_NE(refused("file,label\n").find("no row follows"), std::string::npos);
    EXPECT_NE(refused("file,label\ncat_0.png\n").find("line 2: the cell 'label' is empty"),
              std::string::npos);
    EXPECT_NE(refused("file,label,split\ncat_0.png,cat,maybe\n").find("'maybe' is no split"),
              std::string::npos);
    EXPECT_NE(refused("\xFF\xFE"
                      "f")
                  .find("UTF-16"),
              std::string::npos);
    fs::remove(root_ / "images/cat_0.png");
    for (const char* part : {"images/part_1", "images/part_2"}) add_images(root_ / part);
    EXPECT_NE(refused("file,label\ncat_0,cat\n").find("'cat_0' may be "), std::string::npos);
}

TEST_F(LabelsTest, the_digest_knows_the_labels) {
    const std::string one = digest(open_with(table("")).dataset);
    std::string swapped = table("");
    for (std::size_t at = 0; (at = swapped.find(",dog", at)) != std::string::npos; ++at)
        swapped.replace(at, 4, ",eel");
    EXPECT_NE(digest(open_with(swapped).dataset), one);
    std::string moved = table("");
    moved.replace(moved.find("cat_5.png,cat"), 13, "cat_5.png,dog");
    EXPECT_NE(digest(open_with(moved).dataset), one);
}

TEST_F(LabelsTest, file_names_give_labels_by_their_first_group) {
    const fs::path folder = root_ / "images";
    expect_both(open(folder, {.label_from = "^(.+)_[0-9]+"}));
    expect_both(open(folder, {.label_from = "(cat)|(dog)"}));
    expect_both(open(root_.path(), {.label_from = R"(^(.+)_\d+\.png$)"}));
    write(folder / "owl.png", bytes_of(images() / "one_pixel.png"));
    const Opened opened = open(folder, {.label_from = "^(.+)_[0-9]+"});
    expect_both(opened);
    EXPECT_TRUE(
        opened.warned("left out 1 image without a label, not matched by --label-from ^(.+)_[0-9]+: owl.png"));
    EXPECT_NE(failure(folder, {.label_from = "^([0-9]+)x"}).find("every image is not matched"),
              std::string::npos);
    for (const std::string bad : {"(", "cat", "[z-a](.)"})
        EXPECT_THROW(open_dataset(folder, {.label_from = bad}), Error) << bad;
    EXPECT_THROW(open_dataset(folder, {.labels = "x.csv", .label_from = "(.)"}), Error);
}

TEST_F(LabelsTest, flat_sides_are_sides_when_names_give_the_labels) {
    for (const char* side : {"train", "test1"}) add_images(root_ / ("kaggle/" + std::string(side)));
    const Opened opened = open(root_ / "kaggle", {.label_from = "^(.+)_"});
    EXPECT_EQ(opened.dataset.train.size(), 12u);
    EXPECT_EQ(opened.dataset.valid.size(), 12u);
    fs::remove_all(root_ / "kaggle/test1");
    for (int k = 0; k < 4; ++k)
        write(root_ / ("kaggle/test1/" + std::to_string(k) + ".png"), bytes_of(images() / "one_pixel.png"));
    const Opened unlabelled = open(root_ / "kaggle", {.label_from = "^(.+)_"});
    EXPECT_TRUE(unlabelled.dataset.automatic_split);
    EXPECT_EQ(unlabelled.warnings, "");
}
