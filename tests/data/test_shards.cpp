// Shards are made by tar itself, so what is read is what others write.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "data/folders.h"
#include "data/image_faults.h"
#include "data/image_place.h"
#include "data/loader.h"
#include "data/sample_image.h"
#include "data/shard_index.h"
#include "data/shard_label.h"

namespace onecycle::test {
namespace {

using Names = std::vector<std::string>;

void tar(const fs::path& from, const std::string& what, const fs::path& archive,
         const std::string& options = "") {
    fs::create_directories(archive.parent_path());
    const std::string command = "tar -C '" + from.native() + "' --sort=name " + options + " -cf '" +
                                archive.native() + "' " + what + " 2>/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

// Classes of different images.
void add_photos(const fs::path& folder) {
    for (const auto& [name, fixture] : {std::pair("cat/1.jpg", "rgb_420.jpg"),
                                        {"cat/2.png", "rgb.png"},
                                        {"cat/deep/3.jpg", "grey.jpg"},
                                        {"dog/1.jpg", "progressive.jpg"},
                                        {"dog/2.png", "source.png"},
                                        {"dog/3.png", "portrait.png"}})
        write(folder / name, bytes_of(images() / fixture));
}

TEST(Shards, equal_images_in_a_folder_and_in_shards_are_one_data_set) {
    TemporaryFolder root;
    add_photos(root / "data/train");
    add_photos(root / "data/val");
    tar(root / "data/train", "cat/1.jpg dog", root / "shards/train-000000.tar");
    tar(root / "data/train", "cat/2.png cat/deep", root / "shards/train-000001.tar");
    tar(root / "data/val", "cat dog", root / "shards/val-0.tar");
    tar(root / "data", "train val", root / "one.tar");
    tar(root.path(), "data", root / "wrapped.tar");
    const Dataset folder = open_dataset(root / "data");
    for (const char* name : {"shards", "one.tar", "wrapped.tar"}) {
        const Dataset shards = open_dataset(root / name);
        EXPECT_EQ(digest(shards), digest(folder)) << name;
        EXPECT_EQ(names(shards.train), names(folder.train)) << name;
        EXPECT_EQ(shards.classes, folder.classes) << name;
        ASSERT_EQ(shards.train.size(), folder.train.size()) << name;
        for (std::size_t k = 0; k < folder.train.size(); ++k) {
            EXPECT_EQ(shards.train[k].content, folder.train[k].content);
            EXPECT_EQ(shards.train[k].width, folder.train[k].width);
            EXPECT_EQ(decode_sample(shards.train[k], 0).rgb, decode_sample(folder.train[k], 0).rgb);
        }
    }
    tar(root / "data/train", "cat dog", root / "all/part.tar");
    const Dataset split = open_dataset(root / "data/train"), split_shard = open_dataset(root / "all");
    EXPECT_TRUE(split_shard.automatic_split);
    EXPECT_EQ(digest(split_shard), digest(split));
}

TEST(Shards, names_of_every_kind_of_tar_are_read) {
    TemporaryFolder root;
    const std::string longest(150, 'x');
    const Names expected = {"cat/1.jpg", "cat/h\xC3\xA9.png", "cat/" + longest + ".png", "dog/1.jpg",
                            "dog/link.jpg"};
    write(root / "data/cat/1.jpg", bytes_of(images() / "rgb_420.jpg"));
    write(root / "data/cat" / ("h\xC3\xA9.png"), bytes_of(images() / "rgb.png"));
    write(root / "data/cat" / (longest + ".png"), bytes_of(images() / "source.png"));
    write(root / "data/dog/1.jpg", bytes_of(images() / "grey.jpg"));
    fs::create_hard_link(root / "data/dog/1.jpg", root / "data/dog/link.jpg");
    DatasetOptions whole{.valid_fraction = 0};
    for (const char* format : {"gnu", "pax", "ustar"}) {
        const bool is_short = std::string(format) == "ustar";  // which cannot write the long name
        if (is_short) fs::remove(root / "data/cat" / (longest + ".png"));
        tar(root / "data", "./cat ./dog", root / "one.tar", std::string("--format=") + format);
        const Dataset dataset = open_dataset(root / "one.tar", whole);
        Names want = expected;
        if (is_short) std::erase(want, "cat/" + longest + ".png");
        Names found = names(dataset.train);
        std::sort(want.begin(), want.end());
        EXPECT_EQ(found, want) << format;
        for (const Sample& sample : dataset.train) {
            EXPECT_EQ(read_sample(sample), bytes_of(root / "data" / std::string(sample.name()))) << format;
            EXPECT_EQ(read_image(sample.path()).rgb, decode_sample(sample, 0).rgb) << sample.path();
        }
    }
}

// A shard of images with what stands beside them: each is one of the file's text.
class Beside {
  public:
    void add(const std::string& image, const std::string& beside = "", const std::string& text = "") {
        write(root_ / "in" / image, bytes_of(images() / "one_pixel.png"));
        if (!beside.empty()) write(root_ / "in" / beside, text);
    }
    void text(const std::string& name, const std::string& words) { write(root_ / name, words); }
    fs::path shard(const std::string& name = "shards/all-0.tar") {
        tar(root_ / "in", "--transform 's,^./,,' .", root_ / name);
        return (root_ / name).parent_path();
    }
    const TemporaryFolder root_;
};

TEST(Shards, labels_stand_beside_the_images) {
    Beside flat;
    for (int k = 0; k < 12; ++k)
        flat.add(std::to_string(100 + k) + ".jpg", std::to_string(100 + k) + ".cls",
                 std::to_string(k) + "\n");
    flat.add("200.PNG", "200.json", R"({"label": 10, "caption": "a picture"})");
    flat.add("201.seg.png");
    flat.add("201.png", "201.json", R"({"class": 2})");
    flat.add("202.png", "202.cls", "002");
    const Dataset numbers = open_dataset(flat.shard(), {.valid_fraction = 0});
    EXPECT_EQ(numbers.classes, (Names{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"}));
    EXPECT_EQ(class_counts(numbers.train, 12),
              (std::vector<std::int64_t>{1, 1, 3, 1, 1, 1, 1, 1, 1, 1, 2, 1}));

    std::string text;
    for (int k = 0; k < 12; ++k) text += "name" + std::to_string(k) + "\n";
    flat.text("shards/classes.txt", text);
    const Dataset named = open_dataset(flat.root_ / "shards", {.valid_fraction = 0});
    EXPECT_EQ(named.classes[1], "name1");
    EXPECT_EQ(named.classes[2], "name10");
    EXPECT_EQ(class_counts(named.train, 12)[2], 2);
    flat.text("shards/classes.txt", "a\nb\n");
    EXPECT_NE(failure(flat.root_ / "shards").find("13 of 15 images cannot be used"), std::string::npos)
        << failure(flat.root_ / "shards");

    Beside texts;
    texts.add("x/1.jpg", "x/1.cls", "tench");
    texts.add("x/2.jpg", "x/2.json", R"({"cls": "goldfish"})");
    EXPECT_EQ(open_dataset(texts.shard(), {.valid_fraction = 0}).classes, (Names{"goldfish", "tench"}));

    Beside folders;  // each folder is a number's
    for (const char* key : {"dog/1", "dog/2"})
        folders.add(std::string(key) + ".jpg", std::string(key) + ".cls", "7");
    for (const char* key : {"cat/1", "cat/2"})
        folders.add(std::string(key) + ".jpg", std::string(key) + ".cls", "9");
    EXPECT_EQ(open_dataset(folders.shard()).classes, (Names{"cat", "dog"}));
}

TEST(Shards, what_is_wrong_with_a_label_is_named) {
    Beside shard;
    for (int k = 0; k < 20; ++k) {
        const std::string key = std::string(k % 2 ? "cat/" : "dog/") + std::to_string(k);
        shard.add(key + ".jpg", key + ".cls", k % 2 ? "1" : "0");
    }
    shard.add("cat/wrong.jpg", "cat/wrong.cls", "0");
    shard.add("none.jpg");
    shard.add("dog/two.jpg", "dog/two.cls", "0");
    write(shard.root_ / "in/dog/two.json", std::string(R"({"label": 1})"));
    shard.add("dog/empty.jpg", "dog/empty.cls", " \n");
    DatasetOptions options{.max_bad = 1};
    const Opened opened = open(shard.shard(), options);
    EXPECT_EQ(opened.dataset.classes, (Names{"cat", "dog"}));
    EXPECT_EQ(opened.dataset.train.size() + opened.dataset.valid.size(), 20u);
    for (const char* said :
         {"cat/wrong.jpg: its label is '0' ('dog'), its folder 'cat'", "none.jpg: no label",
          "dog/two.jpg: its .cls says '0', its .json '1'", "dog/empty.jpg: its .cls is empty"})
        EXPECT_TRUE(opened.said(said)) << said << "\n" << opened.lines;
    options.bad_images = BadImages::fail;
    EXPECT_NE(failure(shard.root_ / "shards", options).find("4 of 24 images cannot be used"),
              std::string::npos);
}

TEST(ShardLabel, what_stands_beside_an_image_is_read_or_named) {
    struct Case {
        const char *cls, *json, *fault;
        const char *wanted_cls = "", *wanted_json = "";
    };
    for (const Case& c :
         {Case{" 007 \r\n", "", "", "7"}, Case{"cat", R"({"label": "cat"})", "", "cat", "cat"},
          Case{"0", R"({"cls": "cat", "label": 3})", "", "0", "cat"},
          Case{"", R"({"class": 12})", "", "", "12"}, Case{"", R"({"size": 3})", ""}, Case{"", "[1, 2]", ""},
          Case{"a\x01", "", "its .cls is no class"}, Case{"", "{", "its .json is damaged"},
          Case{"", R"({"cls": -1})", "the field cls of its .json is no class"},
          Case{"", R"({"label": 1.5})", "the field label of its .json is no class"},
          Case{"", R"({"class": null})", "the field class of its .json is no class"},
          Case{"", R"({"cls": ""})", "the field cls of its .json is no class"},
          Case{"dog", R"({"cls": "cat"})", "its .cls says 'dog', its .json 'cat'", "dog", "cat"}}) {
        SCOPED_TRACE(testing::Message() << c.cls << " and " << c.json);
        ShardLabel label;
        if (*c.cls) label.add_cls(c.cls, false);
        if (*c.json) label.add_json(c.json, false);
        EXPECT_EQ(label.fault, c.fault);
        EXPECT_EQ(label.cls, c.wanted_cls);
        EXPECT_EQ(label.json, c.wanted_json);
    }
    ShardLabel twice, long_cls, long_json;
    twice.add_cls("0", false);
    twice.add_cls("0", false);
    EXPECT_EQ(twice.fault, "its key has two files .cls");
    long_cls.add_cls("0", true);
    EXPECT_EQ(long_cls.fault, "its .cls is no class");
    long_json.add_json("{}", true);
    EXPECT_EQ(long_json.fault, "");
}

TEST(ImageFaults, the_earliest_batch_counts_and_ten_are_named) {
    std::string lines;
    ImageFaults faults({.max_bad = 0.5, .images = 100, .log = [&](LogLevel, const std::string& line) {
                            lines += line + '\n';
                        }});
    faults.add({.training = true, .sample = 3, .from = 9, .path = "a", .reason = "truncated"});
    EXPECT_FALSE(faults.left_out(true, 3, 8));
    faults.add({.training = true, .sample = 3, .from = 5, .path = "a", .reason = "truncated"});
    EXPECT_TRUE(faults.left_out(true, 3, 5));
    EXPECT_FALSE(faults.left_out(true, 3, 4));
    EXPECT_EQ(faults.before(9).size(), 1u);
    for (int k = 0; k < 30; ++k) {
        faults.add({.training = true,
                    .sample = 10 + k,
                    .from = k,
                    .path = "p" + std::to_string(k),
                    .reason = "empty"});
        faults.note_damaged("d" + std::to_string(100 + k));
    }
    for (int batch = 0; batch < 40; ++batch) faults.name_until(true, batch);
    const auto count = [&](const char* what) {
        std::size_t found = 0;
        for (std::size_t at = 0; (at = lines.find(what, at)) != std::string::npos; ++at) ++found;
        return found;
    };
    EXPECT_EQ(count("another image takes its place"), 10u) << lines;
    EXPECT_EQ(count("more images can no longer be used"), 1u);
    EXPECT_EQ(count(": damaged; it is used"), 10u);
    EXPECT_EQ(count("more images are damaged"), 1u);
    for (int k = 30; k < 49; ++k)
        faults.add({.training = false, .sample = k, .path = "v", .reason = "empty"});
    EXPECT_THROW(faults.add({.training = false, .sample = 99, .path = "v", .reason = "empty"}), UnusableImage)
        << "51 of 100";
}

TEST(Shards, a_name_that_stands_twice_is_named) {
    TemporaryFolder root;
    add_photos(root / "data");
    tar(root / "data", "cat dog", root / "shards/train-0.tar");
    tar(root / "data", "dog/1.jpg", root / "shards/train-1.tar");
    tar(root / "data", "cat dog/2.png dog/2.png", root / "twice.tar", "--hard-dereference");
    const Opened across = open(root / "shards", {.valid_fraction = 0, .max_bad = 1});
    EXPECT_EQ(across.dataset.train.size(), 6u);
    EXPECT_TRUE(across.said("train-1.tar/dog/1.jpg: its name is also in")) << across.lines;
    const Opened within = open(root / "twice.tar", {.valid_fraction = 0, .max_bad = 1});
    EXPECT_TRUE(within.said("dog/2.png: its name stands twice in the shard")) << within.lines;
}

TEST(Shards, a_shard_that_is_cut_off_anywhere_is_refused_in_one_line) {
    TemporaryFolder root;
    add_photos(root / "data");
    tar(root / "data", "cat dog", root / "whole.tar");
    const std::vector<std::uint8_t> whole = bytes_of(root / "whole.tar");
    const ShardIndex index = index_shard(root / "whole.tar");
    const ShardImage& last = index.images.back();
    const std::size_t end = (last.offset + last.bytes + 511) / 512 * 512;
    for (std::size_t size = 1; size < end + 512; size += size < 1100 || size > end - 600 ? 37 : 1711) {
        write(root / "cut.tar",
              std::vector<std::uint8_t>(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
        const std::string said = failure(root / "cut.tar", {.max_bad = 1});
        EXPECT_NE(said.find("cut.tar"), std::string::npos) << size << " " << said;
        EXPECT_NE(said, "accepted") << size;
    }
    write(root / "data.tar", std::string());
    EXPECT_NE(failure(root / "data.tar").find("it is empty"), std::string::npos)
        << failure(root / "data.tar");
    write(root / "data.tar", std::string(3000, 'x'));
    EXPECT_NE(failure(root / "data.tar").find("it is no tar archive"), std::string::npos)
        << failure(root / "data.tar");
    tar(root / "data", "cat", root / "packed/one.tar.gz", "--gzip");
    EXPECT_NE(failure(root / "packed").find("compressed (gzip)"), std::string::npos)
        << failure(root / "packed");
    EXPECT_NE(failure(root / "packed/one.tar.gz").find("gunzip <"), std::string::npos);
    fs::rename(root / "packed/one.tar.gz", root / "renamed.tar");
    EXPECT_NE(failure(root / "renamed.tar").find("compressed"), std::string::npos);

    const auto open_files = [] {
        return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
    };
    const auto before = open_files();
    for (int again = 0; again < 3; ++again)
        for (const char* refused : {"renamed.tar", "data.tar", "cut.tar"}) failure(root / refused);
    EXPECT_EQ(open_files(), before) << "a shard that is refused is closed";
}

TEST(Shards, shards_beside_images_are_refused_and_one_kind_can_be_left_out) {
    TemporaryFolder root;
    add_photos(root / "data");
    tar(root / "data", "cat dog", root / "data/copy.tar");
    EXPECT_NE(failure(root / "data").find("shards (copy.tar) lie beside images (cat/)"), std::string::npos)
        << failure(root / "data");
    EXPECT_EQ(all_samples(open_dataset(root / "data", {.exclude = {"*.tar"}})).size(), 6u);
}

TEST(Shards, what_is_left_out_or_labelled_is_told_by_the_members_paths) {
    TemporaryFolder root;
    add_photos(root / "data/train");
    add_photos(root / "data/val");
    tar(root / "data/train", "cat dog", root / "shards/train-0.tar");
    tar(root / "data/val", "cat dog", root / "shards/val-0.tar");
    for (const char* glob : {"train/cat/1.jpg", "*/cat/1.jpg", "deep", "val/dog/*.png"}) {
        const Dataset a = open_dataset(root / "data", {.exclude = {glob}}),
                      b = open_dataset(root / "shards", {.exclude = {glob}});
        EXPECT_EQ(digest(a), digest(b)) << glob;
    }
    write(root / "labels.csv",
          std::string("file,label,split\ntrain/cat/1.jpg,a,train\ntrain/dog/1.jpg,b,train\n"
                      "val/cat/1.jpg,a,val\nval/dog/2,b,val\n"));
    const DatasetOptions table{.labels = (root / "labels.csv").native()};
    const Dataset a = open_dataset(root / "data", table), b = open_dataset(root / "shards", table);
    EXPECT_EQ(digest(a), digest(b));
    EXPECT_EQ(names(b.train), (Names{"train/cat/1.jpg", "train/dog/1.jpg"}));
    EXPECT_EQ(decode_sample(b.valid[1], 0).rgb, decode_sample(a.valid[1], 0).rgb);
    EXPECT_NE(b.train[0].path().find("train-0.tar/cat/1.jpg"), std::string::npos) << b.train[0].path();
}

TEST(Shards, the_second_start_reads_the_index_alone) {
    TemporaryFolder root;
    add_photos(root / "data");
    tar(root / "data", "cat dog", root / "one.tar");
    DatasetOptions options{.valid_fraction = 0, .index_folder = (root / "cache").native()};
    const Dataset first = open_dataset(root / "one.tar", options);
    EXPECT_EQ(std::distance(fs::directory_iterator(root / "cache"), {}), 1);
    // Contents that change under the same size and time are not read.
    const auto time = fs::last_write_time(root / "one.tar");
    std::vector<std::uint8_t> bytes = bytes_of(root / "one.tar");
    std::fill(bytes.begin(), bytes.end(), std::uint8_t{'?'});
    write(root / "one.tar", bytes);
    fs::last_write_time(root / "one.tar", time);
    const Dataset second = open_dataset(root / "one.tar", options);
    EXPECT_EQ(digest(second), digest(first));
    EXPECT_EQ(second.train[0].content, first.train[0].content);
    EXPECT_EQ(second.train[3].width, first.train[3].width);
    try {
        decode_sample(second.train[0], 0);
        FAIL() << "other bytes were decoded";
    } catch (const ImageError& error) {
        EXPECT_NE(error.reason().find("changed"), std::string::npos);
    }
    // Another time, and it is read again.
    fs::last_write_time(root / "one.tar", time + std::chrono::seconds(1));
    EXPECT_NE(failure(root / "one.tar", options).find("no tar archive"), std::string::npos);

    // An index that is damaged anywhere is none.
    tar(root / "data", "cat dog", root / "one.tar");
    open_dataset(root / "one.tar", options);
    const fs::path index = fs::directory_iterator(root / "cache")->path();
    const std::vector<std::uint8_t> good = bytes_of(index);
    for (std::size_t at = 0; at < good.size(); at += 13) {
        std::vector<std::uint8_t> bad = good;
        bad[at] ^= 1;
        write(index, bad);
        EXPECT_FALSE(read_shard_index(posix_file_system(), options.index_folder, root / "one.tar")) << at;
        write(index, std::vector<std::uint8_t>(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(at)));
        EXPECT_FALSE(read_shard_index(posix_file_system(), options.index_folder, root / "one.tar")) << at;
    }
    EXPECT_EQ(digest(open_dataset(root / "one.tar", options)), digest(first));
    EXPECT_TRUE(read_shard_index(posix_file_system(), options.index_folder, root / "one.tar"));
}

TEST(Shards, an_image_of_a_shard_that_changed_can_no_longer_be_used) {
    TemporaryFolder root;
    add_photos(root / "data");
    tar(root / "data", "cat dog", root / "one.tar");
    const Dataset dataset = open_dataset(root / "one.tar", {.valid_fraction = 0});
    fs::resize_file(root / "one.tar", 1000);
    EXPECT_THROW(check_file_of(dataset.train[0]), ImageError);
    EXPECT_THROW(decode_sample(dataset.train[0], 0), ImageError);
    fs::remove(root / "one.tar");
    EXPECT_THROW(check_file_of(dataset.train[0]), ImageError);
    Loader loader(dataset.train, {.size = 8, .batch_size = 2, .threads = 0});
    loader.start(0, 1);
    EXPECT_THROW(loader.next(), Error);
}

TEST(Shards, a_bad_image_in_a_shard_is_named_and_left_out_like_a_file) {
    TemporaryFolder root;
    add_photos(root / "data");
    write(root / "data/cat/bad.jpg", std::string("no image"));
    write(root / "data/dog/empty.png", std::string());
    write(root / "data/dog/notes.txt", std::string("text"));
    tar(root / "data", "cat dog", root / "one.tar");
    const DatasetOptions options{
        .valid_fraction = 0, .max_bad = 1, .index_folder = (root / "cache").native()};
    const Dataset folder = open_dataset(root / "data", options);
    for (int start = 0; start < 2; ++start) {
        const Dataset shard = open_dataset(root / "one.tar", options);
        EXPECT_EQ(digest(shard), digest(folder));
        ASSERT_EQ(shard.bad.size(), 2u);
        EXPECT_EQ(shard.bad[0].reason, folder.bad[0].reason);
        EXPECT_EQ(shard.bad[1].reason, "empty file");
        EXPECT_EQ(shard.bad[0].path, root / "one.tar/cat/bad.jpg");
    }
    EXPECT_TRUE(open(root / "one.tar", options).said("ignored 1 .txt file"));
}

}  // namespace
}  // namespace onecycle::test
