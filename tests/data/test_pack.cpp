// Shards that pack_images() writes: read again they are the images that were packed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "data/codecs.h"
#include "data/folders.h"
#include "data/pack.h"
#include "data/sample_image.h"

namespace onecycle::test {
namespace {

void add_many(const fs::path& folder, int each = 12) {
    const std::vector<std::string> fixtures = {"rgb_420.jpg", "grey.jpg", "rgb.png", "source.png",
                                               "portrait.png"};
    for (const char* name : {"cat", "dog", "eel"})
        for (int k = 0; k < each; ++k) {
            const std::string& fixture = fixtures[static_cast<std::size_t>(k) % fixtures.size()];
            write(folder / name / (std::to_string(k) + fs::path(fixture).extension().native()),
                  bytes_of(images() / fixture));
        }
}

Dataset whole(const fs::path& path) {
    return open_dataset(path, {.valid_fraction = 0, .use = DatasetUse::everything});
}

Dataset whole_without(const fs::path& path, const std::string& name) {
    return open_dataset(path, {.valid_fraction = 0, .exclude = {name}, .use = DatasetUse::everything});
}

std::map<std::string, std::vector<std::uint8_t>> files_in(const fs::path& folder) {
    std::map<std::string, std::vector<std::uint8_t>> files;
    for (const auto& entry : fs::directory_iterator(folder))
        files[entry.path().filename()] = bytes_of(entry.path());
    return files;
}

TEST(Pack, packed_images_are_the_data_set_that_they_were) {
    TemporaryFolder root;
    add_many(root / "sides/train");
    add_many(root / "sides/val", 3);
    add_many(root / "classes");
    for (const char* name : {"sides", "classes"}) {
        const Dataset dataset = whole(root / name);
        const fs::path out = root / (std::string(name) + "-shards");
        const PackResult result = pack_images(dataset, out, {.shard_bytes = 60'000, .threads = 2});
        EXPECT_EQ(result.images, std::ssize(dataset.train) + std::ssize(dataset.valid));
        EXPECT_GT(result.shards.size(), 2u);
        for (const PackedShard& shard : result.shards) EXPECT_LE(fs::file_size(out / shard.file), 60'000u);
        EXPECT_EQ(digest(whole(out)), digest(dataset));
        EXPECT_EQ(digest(open_dataset(out)), digest(open_dataset(root / name)));
        for (const Sample& sample : whole(out).train)
            EXPECT_EQ(read_sample(sample),
                      bytes_of(root / name / (name == std::string("sides") ? "train" : "") /
                               std::string(sample.name())));
    }
    EXPECT_TRUE(fs::exists(root / "sides-shards/val-000000.tar"));
    EXPECT_TRUE(fs::exists(root / "classes-shards/all-000000.tar"));
    std::ifstream names(root / "classes-shards/classes.txt");
    std::string line;
    EXPECT_TRUE(std::getline(names, line) && line == "cat");
}

TEST(Pack, equal_images_give_equal_bytes_for_any_threads_and_time) {
    TemporaryFolder root;
    add_many(root / "a");
    add_many(root / "b");
    for (const auto& entry : fs::recursive_directory_iterator(root / "b"))
        fs::last_write_time(entry.path(), fs::file_time_type::clock::now() - std::chrono::hours(77));
    pack_images(whole(root / "a"), root / "a-shards", {.size = 20, .shard_bytes = 20'000, .threads = 1});
    pack_images(whole(root / "b"), root / "b-shards", {.size = 20, .shard_bytes = 20'000, .threads = 3});
    EXPECT_EQ(files_in(root / "a-shards"), files_in(root / "b-shards"));
}

TEST(Pack, images_are_made_smaller_once_and_small_ones_stay_as_they_are) {
    TemporaryFolder root;
    add_many(root / "data", 5);
    const Dataset dataset = whole(root / "data");
    constexpr int size = 24;
    pack_images(dataset, root / "shards", {.size = size, .quality = 90});
    const Dataset packed = whole(root / "shards");
    ASSERT_EQ(packed.train.size(), dataset.train.size());
    int smaller = 0, same = 0;
    for (const Sample& before : dataset.train) {
        const std::string stem = fs::path(before.name()).replace_extension();
        const auto after = std::find_if(packed.train.begin(), packed.train.end(), [&](const Sample& s) {
            return fs::path(s.name()).replace_extension() == stem;
        });
        ASSERT_NE(after, packed.train.end()) << stem;
        if (std::min(before.width, before.height) <= size) {
            EXPECT_EQ(read_sample(*after), read_sample(before));
            ++same;
            continue;
        }
        ++smaller;
        EXPECT_EQ(std::min(after->width, after->height), size);
        const Image expected = resize_bilinear(decode_sample(before, 0), after->width, after->height);
        const Image found = decode_sample(*after, 0);
        double error = 0;
        for (std::size_t k = 0; k < expected.rgb.size(); ++k)
            error += std::abs(expected.rgb[k] - found.rgb[k]);
        EXPECT_LT(error / static_cast<double>(expected.rgb.size()), 12) << stem;
        EXPECT_EQ(read_sample(*after), encode_jpeg(expected, 90));
    }
    EXPECT_GT(smaller, 0);
}

TEST(Pack, a_pack_that_was_stopped_at_any_image_goes_on_to_the_same_bytes) {
    TemporaryFolder root;
    add_many(root / "data");
    const Dataset dataset = whole(root / "data");
    const PackOptions options{.shard_bytes = 60'000, .threads = 1};
    const PackResult in_one = pack_images(dataset, root / "whole", options);
    for (int stop_at = 1; stop_at < 36; stop_at += 5) {
        const fs::path out = root / ("part" + std::to_string(stop_at));
        int asked = 0;
        PackOptions stopping = options;
        stopping.stop = [&] { return ++asked > stop_at ? 15 : 0; };
        EXPECT_THROW(pack_images(dataset, out, stopping), Interrupted) << stop_at;
        for (const auto& [name, bytes] : files_in(out)) EXPECT_FALSE(name.ends_with(".tmp")) << name;
        const PackResult rest = pack_images(dataset, out, options);
        EXPECT_EQ(files_in(out), files_in(root / "whole")) << stop_at;
        EXPECT_EQ(rest.images, in_one.images);
        EXPECT_GE(rest.kept_from_before, stop_at > 20 ? 1 : 0);
    }
    // A finished one is recognised, and one whose shard was damaged or lost is made whole.
    EXPECT_EQ(pack_images(dataset, root / "whole", options).kept_from_before, in_one.images);
    const auto good = files_in(root / "whole");
    fs::resize_file(root / "whole/all-000001.tar", 700);
    fs::remove(root / "whole/all-000000.tar");
    EXPECT_LT(pack_images(dataset, root / "whole", options).kept_from_before, in_one.images);
    EXPECT_EQ(files_in(root / "whole"), good);
}

TEST(Pack, a_folder_that_holds_something_else_is_refused) {
    TemporaryFolder root;
    add_many(root / "data", 2);
    const Dataset dataset = whole(root / "data");
    const auto refused = [&](const fs::path& out, const PackOptions& options, const std::string& said) {
        try {
            pack_images(dataset, out, options);
            FAIL() << "accepted";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::io);
            EXPECT_NE(std::string(error.what()).find(said), std::string::npos) << error.what();
        }
    };
    refused(root / "data", {}, "not empty");
    write(root / "file", std::string("x"));
    refused(root / "file", {}, "cannot pack into");
    pack_images(dataset, root / "out", {});
    refused(root / "out", {.size = 10}, "other images or options");
    write(root / "data/cat/more.png", bytes_of(images() / "rgb.png"));
    const auto before = files_in(root / "out");
    EXPECT_THROW(pack_images(whole(root / "data"), root / "out", {}), Error);
    EXPECT_EQ(files_in(root / "out"), before);
    for (const PackOptions& wrong :
         {PackOptions{.size = -1}, {.quality = 0}, {.quality = 101}, {.shard_bytes = 1}})
        EXPECT_THROW(pack_images(dataset, root / "new", wrong), Error);
    EXPECT_FALSE(fs::exists(root / "new"));
}

TEST(Pack, files_of_the_user_are_never_taken_for_what_a_killed_pack_left) {
    TemporaryFolder root;
    add_many(root / "photos", 2);
    const Dataset dataset = whole(root / "photos");
    int number = 0;
    for (const std::string name :
         {"thesis.tmp", ".tmp", "classes.txt.old.tmp", "all-12.tar.tmp", "all-00000x.tar.tmp",
          "pack.json.tmp.tmp", "test-000000.tar.tmp", "my-all-000000.tar.tmp", "all-000000.tar.1.2.tmp"}) {
        const fs::path out = root / std::to_string(number++), beside = out.native() + "-packed";
        write(out / name, "mine");
        EXPECT_THROW(check_pack_folder(out), Error) << name;
        EXPECT_THROW(pack_images(dataset, out, {}), Error) << name;
        EXPECT_EQ(bytes_of(out / name).size(), 4u) << name;
        pack_images(dataset, beside, {});
        write(beside / name, "mine");
        pack_images(dataset, beside, {});
        EXPECT_EQ(bytes_of(beside / name).size(), 4u) << name;
    }
    const fs::path out = root / "left";
    for (const char* name :
         {"pack.json.tmp", "classes.txt.3.tmp", "all-000000.tar.tmp", "val-1000000.tar.tmp"})
        write(out / name, "half");
    pack_images(dataset, out, {});
    for (const auto& [name, bytes] : files_in(out)) EXPECT_FALSE(name.ends_with(".tmp")) << name;
    write(root / "elsewhere", "mine");
    fs::create_symlink(root / "elsewhere", out / "classes.txt.tmp");
    fs::create_directory(out / "pack.json.tmp");
    pack_images(dataset, out, {});
    EXPECT_TRUE(fs::is_symlink(out / "classes.txt.tmp"));
    EXPECT_TRUE(fs::is_directory(out / "pack.json.tmp"));
}

TEST(Pack, a_damaged_record_is_refused_by_name) {
    TemporaryFolder root;
    add_many(root / "photos", 2);
    const Dataset dataset = whole(root / "photos");
    pack_images(dataset, root / "out", {});
    const std::vector<std::uint8_t> bytes = bytes_of(root / "out/pack.json");
    const std::string good(bytes.begin(), bytes.end());
    const auto with = [&](const std::string& key, const std::string& value) {
        const std::size_t begin = good.find(':', good.find('"' + key + '"')) + 1;
        return good.substr(0, begin) + value + good.substr(good.find_first_of(",}\n", begin));
    };
    std::vector<std::string> damaged = {"", "[]", "null", "{}", R"({"shards": []})"};
    for (const char* entry : {"1", "\"x\"", "null", "{}", "[]", R"({"file": 1})"}) {
        damaged.push_back(R"({"shards": [)" + std::string(entry) + R"(], "left_out": []})");
        damaged.push_back(R"({"shards": [], "left_out": [)" + std::string(entry) + "]}");
    }
    for (const char* key : {"file", "images", "bytes", "digest", "from", "to"})
        for (const char* value : {"null", "-1", "1.5", "[1]", "true"}) damaged.push_back(with(key, value));
    for (const auto& [key, value] : {std::pair("images", "99999999999"),
                                     {"images", "18446744073709551615"},
                                     {"from", "9"},
                                     {"to", "0"},
                                     {"bytes", "\"9\""},
                                     {"file", "7"}})
        damaged.push_back(with(key, value));
    for (const std::string& text : damaged) {
        write(root / "out/pack.json", text);
        try {
            pack_images(dataset, root / "out", {});
            FAIL() << text;
        } catch (const Error& error) {
            EXPECT_NE(std::string(error.what()).find("its pack.json is damaged"), std::string::npos)
                << text << error.what();
        }
    }
    write(root / "out/pack.json", good);
    EXPECT_EQ(pack_images(dataset, root / "out", {}).kept_from_before, 6);
}

TEST(Pack, an_image_that_fails_when_its_turn_comes_is_left_out_or_ends_it) {
    TemporaryFolder root;
    add_many(root / "data", 4);
    const Dataset dataset = whole(root / "data");
    write(root / "data/dog/1.jpg", std::string("no image"));
    const PackResult result = pack_images(dataset, root / "out", {});
    ASSERT_EQ(result.left_out.size(), 1u);
    EXPECT_NE(result.left_out[0].path.find("dog/1.jpg"), std::string::npos);
    EXPECT_EQ(result.images, 11);
    EXPECT_EQ(digest(whole(root / "out")), digest(whole_without(root / "data", "dog/1.jpg")));
    EXPECT_EQ(pack_images(dataset, root / "out", {}).left_out.size(), 1u) << "known from the record";
    EXPECT_THROW(pack_images(dataset, root / "other", {.bad_images = BadImages::fail}), Error);
}

TEST(Pack, keys_stay_apart_and_end_at_their_first_dot) {
    TemporaryFolder root;
    for (const char* name : {"1.jpg", "1.png", "a.b.jpg", "a_b.png", "bare"})
        write(root / "data/cat" / name,
              bytes_of(images() / (std::string(name).ends_with("png") ? "rgb.png" : "rgb_420.jpg")));
    write(root / "data/dog/1.jpg", bytes_of(images() / "grey.jpg"));
    const Dataset dataset = whole(root / "data");
    pack_images(dataset, root / "out", {});
    const Dataset packed = whole(root / "out");
    EXPECT_EQ(names(packed.train), (std::vector<std::string>{"cat/1.jpg", "cat/1_2.png", "cat/a_b.jpg",
                                                             "cat/a_b_2.png", "cat/bare.jpg", "dog/1.jpg"}));
    EXPECT_EQ(class_counts(packed.train, 2), (std::vector<std::int64_t>{5, 1}));
}

TEST(Pack, no_class_gets_a_folder_that_loaders_pass_over) {
    TemporaryFolder root;
    for (const char* name : {"__rest__", "_rest__", "____", "cat"})
        write(root / "data" / name / "1.jpg", bytes_of(images() / "rgb_420.jpg"));
    const Dataset dataset = whole(root / "data");
    pack_images(dataset, root / "out", {});
    const Dataset packed = whole(root / "out");
    EXPECT_EQ(packed.classes, dataset.classes);
    EXPECT_EQ(names(packed.train),
              (std::vector<std::string>{"_/1.jpg", "_rest___2/1.jpg", "_rest__/1.jpg", "cat/1.jpg"}));
}

}  // namespace
}  // namespace onecycle::test
