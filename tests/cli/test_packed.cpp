// Shards from the command: packed, read by others, trained on like the folder they were made of.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace onecycle::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

class PackedImages : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        made_ = new Workplace;
        ASSERT_EQ(
            made_->run({"demo-data", "photos", "--classes", "2", "--images", "10", "--size", "40"}).code, 0);
        const Outcome packed =
            made_->run({"pack", "photos", "-o", "shards", "--shard-size", "20K", "--json"});
        ASSERT_EQ(packed.code, 0) << packed.err;
        report_ = json::parse(packed.out);
    }
    static void TearDownTestSuite() { delete made_; }

    static Outcome train(const std::string& data, const std::string& out, Words more = {}) {
        Words words = {"train",    data,   "--out",        out,    "--arch",   "resnet18",
                       "--size",   "32",   "--batch-size", "8",    "--epochs", "1",
                       "--max-lr", "0.01", "--progress",   "none", "--cache",  "cache"};
        words.insert(words.end(), more.begin(), more.end());
        return made_->run(words);
    }
    static std::string weights(const std::string& run) {
        return made_->read(run + "/checkpoints/" + made_->read(run + "/latest").substr(0, 11) +
                           ".safetensors");
    }

    static inline Workplace* made_ = nullptr;
    static inline json report_;
};

TEST_F(PackedImages, the_report_and_pythons_tarfile_agree_on_what_is_in_them) {
    EXPECT_EQ(report_["images"], 20);
    EXPECT_EQ(report_["classes"], 2);
    EXPECT_GT(report_["shards"].size(), 1u);
    made_->write("read.py",
                 "import collections, glob, sys, tarfile\n"
                 "found = {}\n"
                 "names = open('shards/classes.txt').read().split()\n"
                 "for path in sorted(glob.glob('shards/all-*.tar')):\n"
                 "    with tarfile.open(path) as shard:\n"
                 "        samples = collections.defaultdict(dict)\n"
                 "        for member in shard:\n"
                 "            assert member.isreg() and member.mtime == 0 and member.uid == 0, member\n"
                 "            key, ending = member.name.split('.')\n"
                 "            samples[key][ending] = shard.extractfile(member).read()\n"
                 "        for key, parts in samples.items():\n"
                 "            assert len(parts) == 2, key\n"
                 "            label = names[int(parts.pop('cls'))]\n"
                 "            (ending, image), = parts.items()\n"
                 "            assert key.startswith(label + '/'), key\n"
                 "            assert image == open(f'photos/{key}.{ending}', 'rb').read(), key\n"
                 "            found[key] = label\n"
                 "assert len(found) == 20, found\n");
    const std::string command = "cd '" + made_->path().native() + "' && python3 read.py";
    EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST_F(PackedImages, equal_images_give_equal_weights_and_one_can_go_on_with_the_other) {
    const Outcome folder = train("photos", "a"), shards = train("shards", "b");
    ASSERT_EQ(folder.code, 0) << folder.err;
    ASSERT_EQ(shards.code, 0) << shards.err;
    EXPECT_NE(shards.out.find("2 classes, 16 images to train on, 4 to evaluate on"), std::string::npos)
        << shards.out;
    EXPECT_TRUE(weights("a") == weights("b"));
    // From the index, and from one archive.
    ASSERT_EQ(train("shards", "c").code, 0);
    EXPECT_TRUE(weights("a") == weights("c"));
    for (const char* data : {"photos", "shards"}) {
        const Outcome eval = made_->run({"eval", data, "--model", "b", "--json"});
        ASSERT_EQ(eval.code, 0) << eval.err;
        EXPECT_EQ(json::parse(eval.out)["n"], 4) << data;
        EXPECT_EQ(json::parse(eval.out)["held_out"], 4) << data;
    }
    const Outcome found = made_->run({"find", "shards", "--arch", "resnet18", "--size", "32", "--batch-size",
                                      "8", "--steps", "12", "--quiet", "--out", "found"});
    EXPECT_EQ(found.code, 0) << found.err;
}

TEST_F(PackedImages, predict_takes_shards_and_what_is_in_them) {
    ASSERT_EQ(train("photos", "p").code, 0);
    const Outcome all = made_->run({"predict", "shards", "--model", "p", "--json"});
    ASSERT_EQ(all.code, 0) << all.err;
    const json predictions = json::parse(all.out);
    ASSERT_EQ(predictions.size(), 20u);
    const std::string file = predictions[0]["file"], shard = file.substr(0, file.find(".tar") + 4);
    const Outcome one = made_->run({"predict", file, "--model", "p", "--json"});
    ASSERT_EQ(one.code, 0) << one.err;
    EXPECT_EQ(json::parse(one.out)[0]["file"], file);
    EXPECT_NEAR(json::parse(one.out)[0]["top"][0]["probability"], predictions[0]["top"][0]["probability"],
                1e-5);
    EXPECT_EQ(made_->run({"predict", shard, "--model", "p"}).code, 0);
    EXPECT_EQ(made_->run({"predict", shard + "/no/such.jpg", "--model", "p"}).code, 3);
}

TEST_F(PackedImages, a_run_on_shards_resumes_and_its_folder_is_named_after_them) {
    fs::copy(*made_ / "shards", *made_ / "moved", fs::copy_options::recursive);
    const Outcome whole = train("moved", "whole", {"--checkpoint-every", "1"});
    ASSERT_EQ(whole.code, 0) << whole.err;
    const Outcome stopped = made_->run_until("part/checkpoints/step-000001.safetensors", SIGTERM,
                                             {"train",
                                              "moved",
                                              "--out",
                                              "part",
                                              "--arch",
                                              "resnet18",
                                              "--size",
                                              "32",
                                              "--batch-size",
                                              "8",
                                              "--epochs",
                                              "1",
                                              "--max-lr",
                                              "0.01",
                                              "--progress",
                                              "none",
                                              "--cache",
                                              "cache",
                                              "--checkpoint-every",
                                              "1"});
    EXPECT_TRUE(stopped.code == 143 || stopped.code == 0) << stopped.err;
    const Outcome resumed = made_->run({"train", "--resume", "part"});
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_TRUE(weights("part") == weights("whole"));
}

TEST_F(PackedImages, a_stop_leaves_whole_shards_and_the_same_command_goes_on) {
    const Outcome stopped = made_->run_until("stopped/all-000001.tar", SIGINT,
                                             {"pack", "photos", "-o", "stopped", "--shard-size", "10K"});
    EXPECT_TRUE(stopped.code == 130 || stopped.code == 0) << stopped.err;
    EXPECT_EQ(made_->run({"pack", "photos", "-o", "stopped", "--shard-size", "10K"}).code, 0);
    ASSERT_EQ(made_->run({"pack", "photos", "-o", "unstopped", "--shard-size", "10K"}).code, 0);
    for (const auto& entry : fs::directory_iterator(*made_ / "unstopped")) {
        const std::string name = entry.path().filename();
        EXPECT_TRUE(made_->read("stopped/" + name) == made_->read("unstopped/" + name)) << name;
    }
}

TEST_F(PackedImages, bad_options_and_folders_are_refused_by_their_codes) {
    for (const auto& [code, words] : {std::pair<int, Words>{2, {"pack", "photos"}},
                                      {2, {"pack", "photos", "-o", "new", "--quality", "0"}},
                                      {2, {"pack", "photos", "-o", "new", "--size", "0"}},
                                      {2, {"pack", "photos", "-o", "new", "--shard-size", "10"}},
                                      {3, {"pack", "nowhere", "-o", "new"}},
                                      {5, {"pack", "photos", "-o", "photos"}},
                                      {5, {"pack", "photos", "-o", "shards", "--size", "16"}}}) {
        const Outcome outcome = made_->run(words);
        EXPECT_EQ(outcome.code, code) << outcome.err;
        EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    }
    EXPECT_FALSE(fs::exists(*made_ / "new"));
}

}  // namespace
}  // namespace onecycle::test
