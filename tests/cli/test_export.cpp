// onecycle export as a user meets it. What other programs make of the files:
// tests/reference/check_exports.py.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "cli/program.h"

namespace onecycle::test {
namespace {

using nlohmann::json;

class Export : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        place_ = new Workplace;
        ASSERT_EQ(place_->run({"demo-data", "data", "--classes", "3", "--images", "8", "--size", "40"}).code,
                  0);
        const Outcome trained = place_->run({"train", "data", "--arch", "resnet18", "--size", "32",
                                             "--batch-size", "8", "--epochs", "1", "--max-lr", "0.02",
                                             "--mean", "0.5,0.25,0.125", "--ema", "0.5", "--out", "run"});
        ASSERT_EQ(trained.code, 0) << trained.err;
    }
    static void TearDownTestSuite() { delete place_; }

    static Outcome to(const std::string& file, const std::vector<std::string>& more = {}) {
        std::vector<std::string> words = {"export", "run", "--to", file};
        words.insert(words.end(), more.begin(), more.end());
        return place_->run(words);
    }

    static inline Workplace* place_ = nullptr;
};

TEST_F(Export, a_safetensors_file_holds_torchvisions_names_alone_and_predicts_as_the_run_does) {
    const Outcome exported = to("model.safetensors", {"--json"});
    ASSERT_EQ(exported.code, 0) << exported.err;
    const json said = json::parse(exported.out);
    EXPECT_EQ(said["format"], "safetensors");
    EXPECT_EQ(said["bytes"], std::filesystem::file_size(*place_ / "model.safetensors"));

    const json info = json::parse(place_->run({"info", "model.safetensors", "--json"}).out);
    EXPECT_EQ(info["kind"], "model");
    EXPECT_EQ(info["size"], 32);
    EXPECT_EQ(info["mean"], (json{0.5, 0.25, 0.125}));
    EXPECT_EQ(info["tensors"].size(), 122u) << "as torchvision's ResNet18 has";
    for (const json& tensor : info["tensors"]) {
        const std::string name = tensor["name"];
        EXPECT_TRUE(name.starts_with("conv1.") || name.starts_with("bn1.") || name.starts_with("fc.") ||
                    name.starts_with("layer"))
            << name;
    }
    for (const char* verb : {"predict", "eval"}) {
        const Outcome run = place_->run({verb, "data", "--model", "run", "--json"});
        EXPECT_EQ(run.code, 0) << run.err;
        json known = json::parse(run.out);
        // The list of the images that were trained on stands in checkpoints alone.
        for (const char* of_the_list : {"held_out", "new_files", "missing_files"})
            if (known.is_object()) known.erase(of_the_list);
        EXPECT_EQ(json::parse(place_->run({verb, "data", "--model", "model.safetensors", "--json"}).out),
                  known)
            << verb;
    }
}

TEST_F(Export, a_graph_is_smaller_than_a_checkpoint_and_carries_the_classes) {
    ASSERT_EQ(to("model.onnx").code, 0);
    const std::string bytes = place_->read("model.onnx");
    EXPECT_NE(bytes.find("[0.5, 0.25, 0.125]"), std::string::npos);
    const json info = json::parse(place_->run({"info", "run", "--json"}).out);
    EXPECT_NE(bytes.find(info["classes"].dump()), std::string::npos);
    EXPECT_NE(bytes.find("logits"), std::string::npos);
    EXPECT_EQ(bytes.find("running_mean"), std::string::npos) << "folded";
    ASSERT_EQ(to("kept.onnx", {"--keep-bn"}).code, 0);
    EXPECT_NE(place_->read("kept.onnx").find("running_mean"), std::string::npos);
}

TEST_F(Export, a_file_that_is_there_is_replaced_only_by_force) {
    place_->write("there.onnx", "precious");
    const Outcome refused = to("there.onnx");
    EXPECT_EQ(refused.code, 5);
    EXPECT_NE(refused.err.find("--force"), std::string::npos) << refused.err;
    EXPECT_EQ(place_->read("there.onnx"), "precious");
    EXPECT_EQ(to("there.onnx", {"--force"}).code, 0);
    EXPECT_NE(place_->read("there.onnx"), "precious");
}

TEST_F(Export, what_cannot_be_exported_leaves_no_file) {
    const auto before = place_->listing();
    for (const auto& [code, words] : std::vector<std::pair<int, std::vector<std::string>>>{
             {2, {"export", "run", "--to", "model.pth"}},
             {2, {"export", "run"}},
             {2, {"export"}},
             {2, {"export", "run", "--to", "new.safetensors", "--keep-bn"}},
             {2, {"export", "run", "--to", "new.onnx", "--size", "0"}},
             {4, {"export", "missing", "--to", "new.onnx"}},
             {4, {"export", "data", "--to", "new.onnx"}},
             {5, {"export", "run", "--to", "nowhere/new.onnx"}},
             {5, {"export", "run", "--to", "folder.onnx", "--force"}}}) {
        std::filesystem::create_directory(*place_ / "folder.onnx");
        const Outcome refused = place_->run(words);
        std::filesystem::remove(*place_ / "folder.onnx");
        EXPECT_EQ(refused.code, code) << refused.err;
        EXPECT_EQ(refused.out, "");
        EXPECT_TRUE(refused.err.starts_with("error: ")) << refused.err;
        EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
        EXPECT_EQ(place_->listing(), before);
    }
}

}  // namespace
}  // namespace onecycle::test
