// The whole way with the real binary: images, range test, training, Ctrl-C, resume, evaluation,
// prediction.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "cli/program.h"

namespace onecycle::test {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class EndToEnd : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        place_ = new Workplace;
        const Outcome made =
            place_->run({"demo-data", "data", "--classes", "3", "--images", "20", "--size", "40"});
        ASSERT_EQ(made.code, 0) << made.err;
    }
    static void TearDownTestSuite() { delete place_; }

    // Two epochs of six steps.
    static Words train(const Words& more) {
        Words words = {"train", "data",         "--arch", "resnet18", "--size",
                       "32",    "--batch-size", "8",      "--epochs", "2"};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }

    // Training and timing aside, all but the last two columns of metrics.csv.
    static std::string without_times(const std::string& csv) {
        std::string text;
        for (std::size_t from = 0; from < csv.size();) {
            const std::size_t to = csv.find('\n', from);
            const std::string line = csv.substr(from, to - from);
            text += line.substr(0, line.rfind(',', line.rfind(',') - 1)) + "\n";
            from = to + 1;
        }
        return text;
    }

    static inline Workplace* place_ = nullptr;
};

TEST_F(EndToEnd, large_batch_optimizers_train_by_a_rate_of_their_own) {
    for (const std::string optimizer : {"lars", "lamb"}) {
        const Outcome trained = place_->run(train({"--optimizer", optimizer, "--out", optimizer, "--max-lr",
                                                   "auto", "--trust-coefficient", "0.002"}));
        ASSERT_EQ(trained.code, 0) << trained.err;
        EXPECT_NE(trained.out.find("what is usual for " + optimizer + " in batches of 8"), std::string::npos)
            << "a range test would be longer than this training: " << trained.out;
        const json config = json::parse(place_->read(optimizer + "/config.json"));
        EXPECT_EQ(config["optimizer"], optimizer);
        EXPECT_EQ(config["trust_coefficient"], 0.002);
        EXPECT_EQ(config["weight_decay"], optimizer == "lars" ? 1e-4 : 1e-2);
        EXPECT_EQ(config["max_lr"], optimizer == "lars" ? 0.44 : 0.00063);
    }
    const Outcome planned = place_->run({"plan", "--program", "--arch", "resnet18", "--size", "32",
                                         "--batch-size", "8", "--optimizer", "lamb"});
    ASSERT_EQ(planned.code, 0) << planned.err;
    EXPECT_NE(planned.out.find("trust_ratio"), std::string::npos);
}

TEST_F(EndToEnd, find_says_where_and_writes_its_three_files) {
    const Outcome found = place_->run({"find", "data", "--arch", "resnet18", "--size", "32", "--batch-size",
                                       "8", "--steps", "30", "--out", "curve", "--json"});
    ASSERT_EQ(found.code, 0) << found.err;
    const json object = json::parse(found.out);
    EXPECT_EQ(object, json::parse(place_->read("curve/find.json")));
    for (const char* field : {"lr", "loss", "smoothed", "suggestion", "auto_lr", "lowest", "rules", "edge",
                              "stopped", "steps", "state_digest_before", "state_digest_after", "seconds"})
        EXPECT_TRUE(object.contains(field)) << field;
    EXPECT_EQ(object["state_digest_before"], object["state_digest_after"]);
    EXPECT_EQ(object["lr"].size(), object["loss"].size());
    EXPECT_EQ(object["suggestion"].is_null(), object.contains("reason") && !object["reason"].is_null());
    EXPECT_EQ(place_->read("curve/find.svg").rfind("<svg", 0), 0u);

    const Outcome again = place_->run({"find", "--from-csv", "curve/find.csv", "--json"});
    ASSERT_EQ(again.code, 0) << again.err;
    EXPECT_EQ(json::parse(again.out)["loss"], object["loss"]) << "the file holds every digit";
}

TEST_F(EndToEnd, stopped_by_ctrl_c_and_resumed_it_ends_with_the_same_bytes) {
    const Words options = {"--max-lr", "0.02", "--checkpoint-every", "2"};
    Words whole = train(options), stopped = whole;
    whole.insert(whole.end(), {"--out", "whole"});
    stopped.insert(stopped.end(), {"--out", "stopped run"});
    ASSERT_EQ(place_->run(whole).code, 0);

    const Outcome interrupted =
        place_->run_until("stopped run/checkpoints/step-000004.safetensors", SIGINT, stopped);
    if (interrupted.code != 0) {  // it may have been faster than the signal
        EXPECT_EQ(interrupted.code, 130) << interrupted.err;
        EXPECT_NE(interrupted.err.find("onecycle train --resume 'stopped run'\n"), std::string::npos)
            << interrupted.err;
    }
    const Outcome resumed = place_->run({"train", "--resume", "stopped run", "--threads", "1"});
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    for (const char* file : {"checkpoints/step-000012.safetensors", "steps.csv", "best", "latest"})
        EXPECT_EQ(place_->read("whole/" + std::string(file)),
                  place_->read("stopped run/" + std::string(file)))
            << file;
    EXPECT_EQ(without_times(place_->read("whole/metrics.csv")),
              without_times(place_->read("stopped run/metrics.csv")));

    EXPECT_EQ(place_->run({"train", "--resume", "whole"}).code, 0) << "a finished run has nothing to do";
    const Outcome changed = place_->run({"train", "--resume", "whole", "--batch-size", "4"});
    EXPECT_EQ(changed.code, 2);
    EXPECT_NE(changed.err.find("--batch-size"), std::string::npos) << changed.err;
}

// The words of the last command that a message names.
Words advised(const std::string& message) {
    std::string text = message.substr(message.rfind("onecycle ") + 9);
    text.erase(text.find_last_not_of('\n') + 1);
    Words words;
    std::istringstream stream(text);
    for (std::string word; stream >> word;) words.push_back(word);
    return words;
}

TEST_F(EndToEnd, images_that_are_lost_meanwhile_stop_it_and_each_way_on_that_it_names_works) {
    namespace fs = std::filesystem;
    fs::copy(*place_ / "data", *place_ / "lossy", fs::copy_options::recursive);
    const auto move_four = [&](const std::string& from, const std::string& to) {
        for (int k = 0; k < 4; ++k)
            for (const char* ending : {".jpg", ".png"})
                if (const std::string name = "/000" + std::to_string(k) + ending;
                    fs::exists(*place_ / (from + name)))
                    fs::rename(*place_ / (from + name), *place_ / (to + name));
    };
    fs::create_directory(*place_ / "hidden");
    // While it trains, after its first epoch.
    std::thread loser([&] {
        while (!fs::exists(*place_ / "lost/checkpoints/step-000006.safetensors"))
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        move_four("lossy/rings", "hidden");
    });
    Outcome outcome =
        place_->run({"train", "lossy", "--arch", "resnet18", "--size", "32", "--batch-size", "8", "--epochs",
                     "9", "--max-lr", "0.02", "--bad-images", "fail", "--out", "lost"});
    loser.join();
    ASSERT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_NE(outcome.err.find("lossy/rings/000"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("put it back as it was and continue with onecycle train --resume lost"),
              std::string::npos)
        << outcome.err;
    for (const char* copy : {"lost2", "lost3"})
        fs::copy(*place_ / "lost", *place_ / copy, fs::copy_options::recursive);

    // Without the images: as there are four of 60, one more step is asked for.
    outcome = place_->run(advised(outcome.err));
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    Words words = advised(outcome.err);
    words.push_back("--json");
    outcome = place_->run(words);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(json::parse(outcome.out)["bad_images"], 4);
    const std::string bad = place_->read("lost/bad-images.txt");
    EXPECT_EQ(std::count(bad.begin(), bad.end(), '\n'), 4) << bad;

    // With the images back.
    move_four("hidden", "lossy/rings");
    EXPECT_EQ(place_->run({"train", "--resume", "lost2"}).code, 0);

    // Moved as a whole.
    fs::rename(*place_ / "lossy", *place_ / "moved");
    EXPECT_EQ(place_->run({"train", "--resume", "lost2"}).code, 0) << "it is finished and needs none";
    outcome = place_->run({"train", "--resume", "lost3"});
    EXPECT_EQ(outcome.code, 3);
    words = advised(outcome.err);
    std::replace(words.begin(), words.end(), std::string("NEW"), std::string("moved"));
    EXPECT_EQ(place_->run(words).code, 0) << outcome.err;
}

TEST_F(EndToEnd, a_trained_run_evaluates_predicts_and_tells_what_it_is) {
    const Outcome trained = place_->run(train({"--max-lr", "0.02", "--out", "run", "--json"}));
    ASSERT_EQ(trained.code, 0) << trained.err;
    const json result = json::parse(trained.out);
    EXPECT_EQ(result["epochs"].size(), 2u);
    EXPECT_EQ(result["max_lr"], 0.02);

    const Outcome evaluated = place_->run({"eval", "data", "--model", "run", "--json"});
    ASSERT_EQ(evaluated.code, 0) << evaluated.err;
    const json evaluation = json::parse(evaluated.out);
    EXPECT_EQ(evaluation["n"], 12) << "the side that was kept apart";
    std::set<double> accuracies;
    for (const json& epoch : result["epochs"]) accuracies.insert(epoch["accuracy"].get<double>());
    EXPECT_EQ(evaluation["accuracy"].get<double>(), *accuracies.rbegin()) << "the best checkpoint";
    const Outcome all = place_->run({"eval", "data", "--model", "run", "--all", "--json"});
    EXPECT_EQ(json::parse(all.out)["n"], 60);

    place_->write("broken.jpg", "not an image");
    std::string image;
    for (const std::string& path : place_->listing())
        if (path.ends_with(".png") && image.empty()) image = path;
    const Outcome predicted =
        place_->run({"predict", image, "broken.jpg", "--model", "run", "--top", "2", "--json"});
    ASSERT_EQ(predicted.code, 0) << predicted.err;
    const json predictions = json::parse(predicted.out);
    ASSERT_EQ(predictions.size(), 2u);
    EXPECT_EQ(predictions[0]["top"].size(), 2u);
    EXPECT_TRUE(predictions[1].contains("error"));
    EXPECT_EQ(place_->run({"predict", "missing.jpg", "--model", "run"}).code, 3);

    const json info = json::parse(place_->run({"info", "run", "--json"}).out);
    std::set<std::string> names;
    for (const json& tensor : info["tensors"]) names.insert(tensor["name"]);
    EXPECT_TRUE(names.count("layer4.1.bn2.num_batches_tracked"));
}

TEST_F(EndToEnd, the_found_rate_given_by_hand_gives_the_same_bytes) {
    // 102 updates: fewer would be too few for a range test.
    const Outcome found = place_->run(train({"--epochs", "17", "--out", "searched", "--json"}));
    ASSERT_EQ(found.code, 0) << found.err;
    const std::string text = found.out.substr(found.out.find("\"max_lr\": ") + 10);
    const Outcome given =
        place_->run(train({"--epochs", "17", "--out", "given", "--max-lr", text.substr(0, text.find(','))}));
    ASSERT_EQ(given.code, 0) << given.err;
    EXPECT_EQ(place_->read("searched/steps.csv"), place_->read("given/steps.csv"));
    EXPECT_FALSE(place_->read("searched/find/find.svg").empty());
}

TEST_F(EndToEnd, closed_streams_change_nothing) {
    const Words options = {"--max-lr", "0.02", "--epochs", "1", "--out"};
    Words open = train(options), closed = open;
    open.push_back("open");
    closed.push_back("closed");
    ASSERT_EQ(place_->run(open).code, 0);
    EXPECT_EQ(place_->run_without_streams(closed).code, 0);
    for (const char* file : {"checkpoints/step-000006.safetensors", "steps.csv", "config.json", "best"})
        EXPECT_EQ(place_->read("open/" + std::string(file)), place_->read("closed/" + std::string(file)))
            << file;
}

TEST_F(EndToEnd, a_config_gives_the_defaults_and_what_is_left_out_is_listed) {
    place_->write("config.json",
                  R"({"data": "data", "arch": "resnet18", "size": 32, "batch_size": 8, "epochs": 1,
                      "max_lr": 0.01, "policy": "onecycle", "pct_start": 0.3, "div": 10, "final_div": 100})");
    std::string image;
    for (const std::string& path : place_->listing())
        if (path.starts_with("data/") && path.ends_with(".png")) image = path;
    const std::string broken = image.substr(0, image.rfind('/')) + "/broken.jpg";
    place_->write(broken, "");
    const Outcome trained = place_->run(
        {"train", "--config", "config.json", "--policy", "flat-cos", "--final-div", "50", "--out", "from"});
    std::filesystem::remove(*place_ / broken);
    ASSERT_EQ(trained.code, 0) << trained.err;
    const json written = json::parse(place_->read("from/config.json"));
    EXPECT_EQ(written["batch_size"], 8);
    EXPECT_EQ(written["pct_start"], 0.75) << "that of flat-cos, not onecycle's of the file";
    EXPECT_EQ(written["final_div"], 50);
    EXPECT_TRUE(written["div"].is_null());
    EXPECT_NE(place_->read("from/bad-images.txt").find("broken.jpg\t"), std::string::npos);
}

TEST_F(EndToEnd, a_rate_beyond_the_edge_ends_with_exit_code_6_and_keeps_what_was_good) {
    const Outcome diverged = place_->run(
        train({"--max-lr", "1e8", "--policy", "constant", "--out", "diverged", "--checkpoint-every", "1"}));
    EXPECT_EQ(diverged.code, 6) << diverged.err;
    EXPECT_NE(diverged.err.find("step"), std::string::npos) << diverged.err;
    const Outcome info = place_->run({"info", "diverged", "--json"});
    EXPECT_EQ(info.code, 0) << info.err;
}

}  // namespace
}  // namespace onecycle::test
