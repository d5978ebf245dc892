// Folders as people have them are read as they were meant, or not silently.
#include <gtest/gtest.h>

#include "data/folder.h"
#include "data/folders.h"
#include "data/layout.h"

using namespace onecycle;
using namespace onecycle::test;

namespace {

using Names = std::vector<std::string>;

// Class folders a and b, with so many images each.
void add_side(const fs::path& folder, int count = 5) {
    for (const char* name : {"a", "b"}) add_class(folder / name, count);
}

// `train` and `valid` lie in the folder, and are found as the sides.
void expect_sides(const std::string& train, const std::string& valid) {
    SCOPED_TRACE(train + " and " + valid);
    TemporaryFolder root;
    add_side(root / train, 3);
    add_side(root / valid, 2);
    const Opened opened = open(root.path());
    EXPECT_EQ(opened.dataset.classes, (Names{"a", "b"}));
    EXPECT_EQ(opened.dataset.train_dir, root / train);
    EXPECT_EQ(opened.dataset.valid_dir, root / valid);
    EXPECT_EQ(opened.dataset.train.size(), 6u);
    EXPECT_EQ(opened.dataset.valid.size(), 4u);
    EXPECT_FALSE(opened.dataset.automatic_split);
    EXPECT_EQ(opened.warnings, "");
}

constexpr const char* nfc_name = "caf\xC3\xA9";
constexpr const char* nfd_name = "cafe\xCC\x81";

}  // namespace

TEST(Layout, sides_are_known_in_any_case_and_spelling) {
    expect_sides("Training", "Testing");
    expect_sides("Train", "Val");
    expect_sides("TRAIN", "VALIDATION");
    expect_sides("train", "dev");
    expect_sides("train", "eval");
    expect_sides("tRaIN", "vAlid");
    expect_sides("training_set", "test_set");
    expect_sides("TrainImages", "TestImages");
    expect_sides("seg_train", "seg_test");
    expect_sides("xray-train", "xray-val");
    expect_sides("train2017", "val2017");
    expect_sides("train", "test1");
}

TEST(Layout, one_folder_around_a_side_or_around_everything_is_opened) {
    expect_sides("seg_train/seg_train", "seg_test/seg_test");
    expect_sides("train/train", "val/val");
    expect_sides("training/Train", "validation/valid");
    expect_sides("archive/train", "archive/test");
    TemporaryFolder root;
    add_side(root / "flowers");
    write(root / "LICENSE.txt", std::string("none"));
    const Opened opened = open(root.path());
    EXPECT_EQ(opened.dataset.classes, (Names{"a", "b"}));
    EXPECT_TRUE(opened.said("flowers, the only folder of images")) << opened.lines;
}

TEST(Layout, the_side_that_is_named_first_in_the_documentation_is_taken_and_others_are_said) {
    TemporaryFolder root;
    for (const char* side : {"train", "test", "Validation", "dev"}) add_side(root / side);
    add_side(root / "extra");
    const Opened opened = open(root.path());
    EXPECT_EQ(opened.dataset.valid_dir, root / "Validation");
    EXPECT_TRUE(opened.said("test: another evaluation side, not used"));
    EXPECT_FALSE(opened.warned("/test:"));
    EXPECT_TRUE(opened.warned("extra: its images are not used"));
}

TEST(Layout, images_that_serve_nothing_are_warned_of) {
    TemporaryFolder root;
    add_side(root / "train");
    add_side(root / "val");
    add_class(root / "owls", 2);
    fs::create_directories(root / "documents");
    write(root / "cover.png", bytes_of(images() / "rgb.png"));
    const Opened opened = open(root.path());
    EXPECT_TRUE(opened.warned("owls: its images are not used"));
    EXPECT_FALSE(opened.said("documents"));
    EXPECT_TRUE(opened.warned("the images directly in it are not used"));
}

TEST(Layout, folders_whose_names_are_all_of_splits_are_no_classes) {
    TemporaryFolder root;
    add_class(root / "train", 3);
    add_class(root / "test", 3);
    EXPECT_NE(failure(root.path()).find("train: no class folders; found 3 images directly in it"),
              std::string::npos);
    TemporaryFolder evaluations;
    add_class(evaluations / "Val", 3);
    add_class(evaluations / "Test", 3);
    EXPECT_NE(failure(evaluations.path()).find("but no train/"), std::string::npos);
}

TEST(Layout, names_that_only_hold_a_splits_word_stay_classes) {
    TemporaryFolder root;
    for (const char* name : {"bullet_train", "crash_test", "bus"}) add_class(root / name, 3);
    EXPECT_EQ(open(root.path()).dataset.classes, (Names{"bullet_train", "bus", "crash_test"}));
    fs::remove_all(root / "bus");
    EXPECT_EQ(open(root.path()).dataset.classes, (Names{"bullet_train", "crash_test"}));
    EXPECT_FALSE(split_name("restaurant"));
    EXPECT_FALSE(split_name("train_val"));
    EXPECT_FALSE(split_name("brain"));
}

TEST(Layout, a_flat_test_folder_is_not_evaluated_on_and_a_line_says_so) {
    for (const char* inside : {"", "test", "unknown"}) {
        TemporaryFolder root, alone;
        add_side(root / "train");
        add_class(root / "test" / inside, 4);
        add_side(alone.path());
        const Opened opened = open(root.path());
        EXPECT_TRUE(opened.dataset.automatic_split);
        EXPECT_EQ(names(opened.dataset.valid), names(open_dataset(alone.path()).valid));
        EXPECT_TRUE(opened.said("so nothing is evaluated on it")) << opened.lines;
        DatasetOptions evaluation{.use = DatasetUse::evaluation};
        EXPECT_EQ(digest(open_dataset(root.path(), evaluation)), digest(opened.dataset));
    }
}

TEST(Layout, a_flat_validation_folder_is_refused) {
    TemporaryFolder root;
    add_side(root / "train");
    add_class(root / "val", 4);
    EXPECT_NE(failure(root.path()).find("val: no class folders; found 4 images"), std::string::npos);
    EXPECT_EQ(failure(root.path(), {.exclude = {"val"}}), "accepted");
}

TEST(Layout, a_folder_named_with_valid_inside_data_is_neither_class_nor_trained_on) {
    TemporaryFolder root;
    add_side(root.path(), 6);
    for (const char* place : {"val", "holdout", "a/kept"}) {
        add_side(root / place, 2);
        for (const std::string& spelled :
             {(root / place).native(), (root / place).native() + "/", (root / ".").native() + "/" + place}) {
            const Opened opened = open(root.path(), {.valid_dir = spelled});
            EXPECT_EQ(opened.dataset.classes, (Names{"a", "b"})) << spelled;
            EXPECT_EQ(opened.dataset.train.size(), 12u) << spelled;
            EXPECT_EQ(opened.dataset.valid.size(), 4u) << spelled;
        }
        fs::create_directory_symlink(root / place, root.path().native() + ".link");
        EXPECT_EQ(open(root.path(), {.valid_dir = root.path().native() + ".link"}).dataset.train.size(), 12u);
        fs::remove(root.path().native() + ".link");
        fs::remove_all(root / place);
    }
}

TEST(Layout, valid_equal_to_data_evaluates_on_the_same_images_however_it_is_spelled) {
    TemporaryFolder root, links;
    add_side(root.path());
    fs::create_directory_symlink(root.path(), links / "link");
    const std::string path = root.path();
    for (const std::string& spelled :
         {path, path + "/", path + "//", path + "/.", path + "/a/..", (links / "link").native()}) {
        const Dataset dataset = open_dataset(path, {.valid_dir = spelled});
        EXPECT_EQ(dataset.train.size(), 10u) << spelled;
        EXPECT_EQ(names(dataset.valid), names(dataset.train)) << spelled;
        EXPECT_FALSE(dataset.automatic_split);
        const Dataset evaluation = open_dataset(path, {.valid_dir = spelled, .use = DatasetUse::evaluation});
        EXPECT_EQ(names(evaluation.valid), names(dataset.valid)) << spelled;
    }
    TemporaryFolder sides;
    add_side(sides / "train");
    add_side(sides / "val", 2);
    for (const std::string valid : {"train", ""})
        EXPECT_EQ(open_dataset(sides.path(), {.valid_dir = sides / valid}).valid.size(), 10u);
    EXPECT_EQ(open_dataset(sides / "train", {.valid_dir = sides.path()}).valid_dir, sides / "val");
}

TEST(Layout, own_output_is_no_class) {
    TemporaryFolder root;
    add_side(root.path());
    const std::string before = digest(open_dataset(root.path()));
    write(root / "runs/photos-find/find.json", std::string("{}"));
    write(root / "runs/photos/config.json", std::string("{}"));
    write(root / "runs/photos/steps.csv", std::string("step\n"));
    fs::create_directories(root / "runs/begun");
    write(root / "elsewhere/config.json", std::string("{}"));
    fs::create_directories(root / "elsewhere/checkpoints");
    const Opened opened = open(root.path());
    EXPECT_EQ(digest(opened.dataset), before);
    EXPECT_TRUE(opened.said("runs: onecycle's own output"));
    EXPECT_TRUE(opened.said("elsewhere: onecycle's own output"));
    EXPECT_EQ(images_below(root.path()).size(), 10u);
    fs::remove_all(root / "runs");
    add_class(root / "runs", 3);  // of a sports team
    EXPECT_EQ(open(root.path()).dataset.classes, (Names{"a", "b", "runs"}));
}

TEST(Layout, what_systems_leave_is_ignored_and_listed_once) {
    TemporaryFolder root;
    add_side(root.path());
    const std::string before = digest(open_dataset(root.path()));
    for (const char* name : {"@eaDir", "__MACOSX", "$RECYCLE.BIN", "$Recycle.Bin",
                             "System Volume Information", "#recycle", "lost+found", ".ipynb_checkpoints",
                             ".AppleDouble", "a/@eaDir/1.jpg", "b/@eaDir", ":2eTrashes", "@__thumb"})
        add_class(root / name, 1);
    for (const char* name : {"a/Thumbs.db", "b/Thumbs.db", "desktop.ini", ".DS_Store", "a/._1.jpg"})
        write(root / name, std::string("x"));
    const Opened opened = open(root.path());
    EXPECT_EQ(digest(opened.dataset), before);
    EXPECT_EQ(opened.warnings, "");
    EXPECT_TRUE(opened.said("@eaDir (3)")) << opened.lines;
    EXPECT_TRUE(opened.said("Thumbs.db (2)"));
    EXPECT_EQ(opened.lines.find("systems leave"), opened.lines.rfind("systems leave"));
    EXPECT_EQ(images_below(root.path()).size(), 10u);
}

TEST(Layout, exclude_leaves_out_by_path_or_name) {
    EXPECT_TRUE(glob_matches("masks", "a/masks"));
    EXPECT_TRUE(glob_matches("masks/", "masks"));
    EXPECT_TRUE(glob_matches("*_mask.png", "a/b/1_mask.png"));
    EXPECT_TRUE(glob_matches("a/*.png", "a/1.png"));
    EXPECT_TRUE(glob_matches("**/tmp", "tmp"));
    EXPECT_TRUE(glob_matches("/a", "a"));
    EXPECT_FALSE(glob_matches("/a", "b/a"));
    EXPECT_FALSE(glob_matches("a/*.png", "b/a.png"));
    EXPECT_FALSE(glob_matches("Masks", "masks"));
    EXPECT_TRUE(glob_matches(nfc_name, nfd_name));

    TemporaryFolder root;
    add_side(root.path());
    add_class(root / "c", 3);
    add_class(root / "b/masks", 3);
    write(root / "a/1_mask.png", bytes_of(images() / "rgb.png"));
    const Opened opened = open(root.path(), {.exclude = {"c", "masks", "*_mask.png", "nothing/*"}});
    EXPECT_EQ(opened.dataset.classes, (Names{"a", "b"}));
    EXPECT_EQ(all_samples(opened.dataset).size(), 10u);
    EXPECT_TRUE(opened.said("left out by --exclude: *_mask.png, c, masks"));
    EXPECT_TRUE(opened.warned("--exclude nothing/* leaves nothing out"));
    EXPECT_FALSE(opened.warned("--exclude c"));
}

TEST(Layout, classes_that_lie_deeper_get_a_hint) {
    TemporaryFolder root;
    for (const char* name : {"animals/cat", "animals/dog", "things/cup"}) add_class(root / name, 3);
    EXPECT_TRUE(open(root.path()).said("hint: all images lie two folders down"));
    add_class(root / "things", 1);
    EXPECT_FALSE(open(root.path()).said("hint"));
    TemporaryFolder turned;
    for (const char* name : {"cat/train", "cat/val", "dog/train", "dog/val"}) add_class(turned / name, 3);
    EXPECT_TRUE(open(turned.path()).warned("lie inside the class folders"));
}

TEST(Layout, names_that_are_equal_after_normalisation_are_one_class) {
    TemporaryFolder root;
    add_side(root / "train");
    add_class(root / "train" / nfc_name, 3);
    add_side(root / "val", 2);
    add_class(root / "val" / nfd_name, 2);
    const Opened opened = open(root.path());
    EXPECT_EQ(opened.dataset.classes, (Names{"a", "b", nfc_name}));
    EXPECT_EQ(class_counts(opened.dataset.valid, 3), (std::vector<std::int64_t>{2, 2, 2}));
    EXPECT_TRUE(opened.said("cafe<U+0301>")) << opened.lines;

    add_class(root / "train" / nfd_name, 4);  // beside the other spelling
    EXPECT_EQ(class_counts(open_dataset(root.path()).train, 3), (std::vector<std::int64_t>{5, 5, 7}));
    fs::remove_all(root / "train" / nfc_name);
    EXPECT_EQ(open_dataset(root.path()).classes.back(), nfd_name);  // as a folder of before, with its digest
}

TEST(Layout, names_that_only_look_alike_are_warned_of_or_refused_so_that_it_is_seen) {
    TemporaryFolder root;
    for (const char* name : {"Cat", "cat", "dog"}) add_class(root / name, 3);
    EXPECT_TRUE(open(root.path()).warned("look alike are different classes: 'Cat', 'cat'"));

    TemporaryFolder sides;
    add_side(sides / "train");
    add_class(sides / "train/red cup", 2);
    add_class(sides /
                  "val/red\xC2\xA0"
                  "cup",
              2);  // a blank that does not break lines
    const std::string said = failure(sides.path());
    EXPECT_NE(said.find("it is red<U+00A0>cup; the training class is red cup"), std::string::npos) << said;
}

TEST(Layout, content_decides_for_every_ending_of_an_image_and_for_none) {
    TemporaryFolder root;
    add_side(root.path(), 1);
    const auto photo = bytes_of(images() / "rgb_420.jpg");
    int count = 0;
    for (const char* ending :
         {".jpg",  ".jpeg", ".jpe", ".jfif", ".pjpeg", ".mpo",  ".png",  ".bmp",  ".webp", ".tif",
          ".tiff", ".gif",  ".ppm", ".pgm",  ".pnm",   ".avif", ".heic", ".heif", ".JFIF", ""})
        write(root / ("a/photo" + std::to_string(count++) + ending), photo);
    write(root / "a/README", std::string("Not an image, without an ending."));
    write(root / "a/notes.txt", photo);
    const Opened opened = open(root.path());
    EXPECT_EQ(class_counts(all_samples(opened.dataset), 2)[0], count + 1);
    EXPECT_TRUE(opened.said("1 .txt file"));
    EXPECT_TRUE(opened.said("ignored 1 file"));
}

TEST(Layout, a_fraction_of_nothing_holds_nothing_out) {
    TemporaryFolder root;
    add_side(root.path());
    const Dataset dataset = open_dataset(root.path(), {.valid_fraction = 0});
    EXPECT_EQ(dataset.train.size(), 10u);
    EXPECT_TRUE(dataset.valid.empty());
    EXPECT_TRUE(dataset.automatic_split);
}
