// Folders as people have them: layouts, splits, damaged files, mistakes.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "data/folder.h"
#include "data/folders.h"
#include "onecycle/dataset.h"
#include "onecycle/error.h"

using namespace onecycle;
using namespace onecycle::test;

TEST(Dataset, automatic_split_is_stratified_seeded_and_blind_to_file_order) {
    TemporaryFolder a, b;
    for (const auto& [name, count] : {std::pair("cats", 20), {"dogs", 7}, {"owls", 2}, {"newts", 1}})
        add_class(a / name, count);
    // The same files made in another order: directories list them in another one too.
    for (int k = 19; k >= 0; --k)
        write((b / "cats") / (std::to_string(1000 + k).substr(1) + ".png"),
              bytes_of(images() / "one_pixel.png"));
    for (const auto& [name, count] : {std::pair("newts", 1), {"owls", 2}, {"dogs", 7}})
        add_class(b / name, count);

    const Dataset first = open_dataset(a.path()), second = open_dataset(b.path());
    EXPECT_EQ(first.classes, (std::vector<std::string>{"cats", "dogs", "newts", "owls"}));
    EXPECT_TRUE(first.automatic_split);
    EXPECT_EQ(class_counts(first.train, 4), (std::vector<std::int64_t>{16, 6, 1, 1}));
    EXPECT_EQ(class_counts(first.valid, 4), (std::vector<std::int64_t>{4, 1, 0, 1}));
    EXPECT_EQ(names(first.train), names(second.train));
    EXPECT_EQ(names(first.valid), names(second.valid));
    EXPECT_EQ(digest(first), digest(second));
    EXPECT_TRUE(std::is_sorted(first.train.begin(), first.train.end(), [](const Sample& x, const Sample& y) {
        return std::pair(x.label, x.name()) < std::pair(y.label, y.name());
    }));
    EXPECT_EQ(all_samples(first).size(), 30u);

    DatasetOptions other;
    other.seed = 1;
    EXPECT_NE(names(open_dataset(a.path(), other).valid), names(first.valid));
    EXPECT_NE(digest(open_dataset(a.path(), other)), digest(first));
}

TEST(Dataset, an_image_that_decoding_has_no_memory_for_is_found_by_its_header) {
    TemporaryFolder data;
    for (const char* name : {"a", "b"}) add_class(data / name, 30);
    fs::copy_file(images() / "progressive.jpg", data / "a/large.jpg");
    DatasetOptions options;
    options.decode_memory = 8000;  // bytes: 37 x 29 pixels of 6, and 4608 of coefficients
    const Opened opened = open(data.path(), options);
    ASSERT_EQ(opened.dataset.bad.size(), 1u);
    EXPECT_EQ(opened.dataset.bad[0].reason,
              "too large: decoding it needs 11046 bytes, more than the 8000 it may take; --decode-memory "
              "11046 allows it");
    EXPECT_TRUE(opened.warned("a/large.jpg: too large")) << opened.warnings;
    options.decode_memory = 11046;
    EXPECT_TRUE(open_dataset(data.path(), options).bad.empty());
}

TEST(Dataset, says_on_the_calling_thread_how_many_images_it_has_looked_at) {
    TemporaryFolder data;
    for (const char* name : {"a", "b"}) add_class(data / name, 300);
    DatasetOptions options;
    for (const int threads : {1, 3}) {
        options.threads = threads;
        std::vector<std::int64_t> told;
        options.progress = [&, caller = std::this_thread::get_id()](std::int64_t done, std::int64_t all) {
            EXPECT_EQ(std::this_thread::get_id(), caller);
            EXPECT_TRUE(all == 600 || all == 0) << all;  // 0: they are still counted
            if (all > 0) told.push_back(done);
        };
        open_dataset(data.path(), options);
        if (threads == 1) {
            EXPECT_EQ(told, (std::vector<std::int64_t>{256, 512, 600}));
        }
        EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
        EXPECT_EQ(told.back(), 600);
    }
}

TEST(Dataset, leaving_out_bad_files_equals_a_folder_without_them) {
    TemporaryFolder clean, mixed;
    for (const char* name : {"a", "b"}) {
        add_class(clean / name, 30);
        add_class(mixed / name, 30);
    }
    const std::vector<std::uint8_t> photo = bytes_of(images() / "rgb_420.jpg");
    write(mixed / "a/000a.jpg", std::vector<std::uint8_t>(photo.begin(), photo.end() - 40));
    write(mixed / "a/0000.jpg", std::string("<html>not found</html>"));
    write(mixed / "b/zero.png", std::string());
    write(mixed / "b/photo.webp", std::string("RIFF"));
    write(mixed / "b/notes.txt", std::string("no image, and none is meant"));
    write(mixed / "b/.hidden.jpg", std::string("x"));
    write(mixed / ".git/x.jpg", std::string("x"));

    DatasetOptions options;
    options.max_bad = 0.07;
    std::vector<std::string> lines;
    options.log = [&](LogLevel, const std::string& line) { lines.push_back(line); };
    for (const int threads : {1, 4}) {
        options.threads = threads;
        lines.clear();
        const Dataset got = open_dataset(mixed.path(), options), want = open_dataset(clean.path());
        EXPECT_EQ(names(got.train), names(want.train));
        EXPECT_EQ(names(got.valid), names(want.valid));
        EXPECT_EQ(digest(got), digest(want));
        ASSERT_EQ(got.bad.size(), 4u);
        EXPECT_EQ(got.bad[0].reason, "not an image (starts with '<html>')");
        EXPECT_EQ(got.bad[1].reason, "truncated");
        EXPECT_EQ(got.bad[2].reason, "not an image (starts with 'RIFF')");
        EXPECT_EQ(got.bad[3].reason, "empty file");
        const auto said = [&](const std::string& what) {
            return std::count_if(lines.begin(), lines.end(),
                                 [&](const std::string& line) { return line.find(what) != line.npos; });
        };
        EXPECT_EQ(said("left out 4 of 64 images"), 1);
        EXPECT_EQ(said("zero.png: empty file"), 1);
        EXPECT_EQ(said("1 .txt file"), 1);
    }
    options.max_bad = 0.05;  // 4 of 64 are 6.25 %
    EXPECT_NE(failure(mixed.path(), options).find("4 of 64 images"), std::string::npos);
}

TEST(Dataset, each_bad_file_is_named_once_also_when_there_are_too_many) {
    TemporaryFolder root;
    add_class(root / "a", 8);
    add_class(root / "b", 8);
    std::string said;
    DatasetOptions options;
    options.log = [&](LogLevel, const std::string& line) { said += line + '\n'; };
    const auto times = [&](const std::string& what) {
        std::size_t count = 0;
        for (std::size_t at = said.find(what); at != said.npos; at = said.find(what, at + 1)) ++count;
        return count;
    };

    write(root / "a/bad00.jpg", std::string("text"));
    options.bad_images = BadImages::fail;
    said = failure(root.path(), options);
    EXPECT_EQ(times("bad00.jpg: not an image"), 1u) << said;

    for (int k = 1; k < 12; ++k)
        write(root / ("a/bad" + std::to_string(100 + k).substr(1) + ".jpg"), std::string("text"));
    for (const BadImages policy : {BadImages::fail, BadImages::skip}) {
        options.bad_images = policy;
        said.clear();
        const std::string error = failure(root.path(), options);
        EXPECT_NE(error.find("12 of 28 images cannot be used"), std::string::npos) << error;
        said += error;
        for (int k = 0; k < 10; ++k)
            EXPECT_EQ(times("bad" + std::to_string(100 + k).substr(1) + ".jpg: not an image"), 1u) << said;
        EXPECT_EQ(times("bad10"), 0u);
        EXPECT_EQ(times("and 2 more"), 1u);
    }
    options.max_bad = 0.5;
    EXPECT_EQ(open_dataset(root.path(), options).bad.size(), 12u);  // which names them all
}

TEST(Dataset, sides_are_found_by_name) {
    TemporaryFolder root;
    for (const char* side : {"train", "test", "valid", "val"})
        for (const char* name : {"x", "y"}) add_class(root / side / name, 3);
    const Dataset dataset = open_dataset(root.path().native() + "/");
    EXPECT_FALSE(dataset.automatic_split);
    EXPECT_EQ(dataset.valid_dir, root / "val");
    EXPECT_EQ(dataset.train.size(), 6u);
    EXPECT_EQ(dataset.valid.size(), 6u);
    fs::remove_all(root / "val");
    EXPECT_EQ(open_dataset(root.path()).valid_dir, root / "valid");
    DatasetOptions named;
    named.valid_dir = root / "test";
    EXPECT_EQ(open_dataset(root.path(), named).valid_dir, root / "test");
    fs::remove_all(root / "valid");
    fs::remove_all(root / "test");
    EXPECT_TRUE(open_dataset(root.path()).automatic_split);  // of train/
    EXPECT_EQ(open_dataset(root.path()).classes, (std::vector<std::string>{"x", "y"}));
}

TEST(Dataset, train_may_be_a_class) {
    TemporaryFolder root;
    add_class(root / "bus", 4);
    add_class(root / "train", 4);
    EXPECT_EQ(open_dataset(root.path()).classes, (std::vector<std::string>{"bus", "train"}));
}

TEST(Dataset, evaluation_needs_no_training_side) {
    TemporaryFolder root;
    add_class(root / "val/only", 3);
    DatasetOptions options;
    options.use = DatasetUse::evaluation;
    const Dataset dataset = open_dataset(root.path(), options);
    EXPECT_EQ(dataset.classes, (std::vector<std::string>{"only"}));
    EXPECT_EQ(dataset.valid.size(), 3u);
    EXPECT_TRUE(dataset.train.empty());
    EXPECT_NE(failure(root.path()).find("no train/"), std::string::npos);
}

TEST(Dataset, evaluation_knows_the_classes_of_both_sides) {
    TemporaryFolder root;
    for (const char* name : {"train/a", "train/b", "train/c", "val/a", "val/c", "val/d"})
        add_class(root / name, 2);
    DatasetOptions options;
    options.use = DatasetUse::evaluation;
    const Dataset valid = open_dataset(root.path(), options);
    EXPECT_EQ(valid.classes, (std::vector<std::string>{"a", "b", "c", "d"}));
    EXPECT_EQ(class_counts(all_samples(valid), 4), (std::vector<std::int64_t>{2, 0, 2, 2}));
    options.use = DatasetUse::everything;
    const Dataset all = open_dataset(root.path(), options);
    EXPECT_EQ(all.classes, valid.classes);
    EXPECT_EQ(class_counts(all_samples(all), 4), (std::vector<std::int64_t>{4, 2, 4, 2}));
}

TEST(Dataset, nested_folders_links_and_odd_names_are_followed) {
    TemporaryFolder root, elsewhere;
    add_class(elsewhere / "photos", 2);
    add_class(root / "a/deep/er", 2);
    fs::create_directory_symlink(elsewhere / "photos", root / "a/linked");
    fs::create_directory_symlink(root / "a", root / "a/deep/loop");
    fs::create_directory_symlink("..", root / "a/up");  // would bring the other class into this one
    fs::create_directory_symlink("/", root / "a/way_up");
    add_class(root / "b\n\xff \xc3\xa9", 2);
    write(root / "a/UPPER.JPG", bytes_of(images() / "rgb.png"));  // told by content, not by name
    std::vector<std::string> lines;
    DatasetOptions options;
    options.log = [&](LogLevel, const std::string& line) { lines.push_back(line); };
    const Dataset dataset = open_dataset(root.path(), options);
    EXPECT_EQ(class_counts(all_samples(dataset), 2), (std::vector<std::int64_t>{5, 2}));
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_NE(lines[0].find("deep/loop"), std::string::npos);
    EXPECT_NE(lines[1].find("a/up"), std::string::npos);
    EXPECT_NE(lines[2].find("a/way_up"), std::string::npos);
}

TEST(Dataset, images_to_predict_are_found_as_those_of_a_class_are) {
    TemporaryFolder root, elsewhere;
    for (const char* name :
         {"b.png", "A.JPG", "sub/deep/c.jpeg", "w.webp", ".hidden.jpg", ".h/x.jpg", "notes.txt"})
        write(root / name, std::string("x"));
    write(elsewhere / "d.bmp", std::string("x"));
    fs::create_directory_symlink(elsewhere.path(), root / "linked");
    fs::create_directory_symlink(root.path(), root / "sub/loop");
    std::vector<std::string> want;
    for (const char* name : {"A.JPG", "b.png", "linked/d.bmp", "sub/deep/c.jpeg", "w.webp"})
        want.push_back(root / name);
    EXPECT_EQ(images_below(root.path()), want);
}

TEST(Dataset, mistakes_are_named) {
    TemporaryFolder root;
    EXPECT_NE(failure(root / "missing").find("no such folder"), std::string::npos);
    EXPECT_NE(failure(images() / "rgb.png").find("not a folder"), std::string::npos);
    EXPECT_NE(failure(root.path()).find("the folder is empty"), std::string::npos);
    add_class(root.path(), 3);
    EXPECT_NE(failure(root.path()).find("found 3 images directly in it"), std::string::npos);
    add_class(root / "one", 3);
    EXPECT_NE(failure(root.path()).find("only one class ('one')"), std::string::npos);
    fs::create_directory(root / "two");
    EXPECT_NE(failure(root.path()).find("two: a class without a usable image"), std::string::npos);
    add_class(root / "two", 1);
    EXPECT_EQ(failure(root.path()), "accepted");

    TemporaryFolder flat;
    add_class(flat / "train", 3);
    EXPECT_NE(failure(flat.path()).find("train: no class folders; found 3 images directly in it"),
              std::string::npos);

    TemporaryFolder sides;
    for (const char* name : {"train/x", "train/y", "val/x", "val/z"}) add_class(sides / name, 2);
    EXPECT_NE(failure(sides.path()).find("class 'z' is not among the training classes"), std::string::npos);
    fs::remove_all(sides / "val/z");
    std::vector<std::string> lines;
    DatasetOptions options;
    options.log = [&](LogLevel, const std::string& line) { lines.push_back(line); };
    EXPECT_EQ(open_dataset(sides.path(), options).valid.size(), 2u);  // y cannot be judged, and that is said
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find("no image of class 'y'"), std::string::npos);
    fs::remove_all(sides / "val/x");
    add_class(sides / "val", 2);
    EXPECT_NE(failure(sides.path()).find("val: no class folders; found 2 images"), std::string::npos);
    fs::create_directory(sides / "val/x");
    EXPECT_NE(failure(sides.path()).find("no image for evaluation"), std::string::npos);
}
