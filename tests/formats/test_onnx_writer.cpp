#include "formats/onnx_writer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/simulated_file_system.h"

namespace onecycle {
namespace {

// Reads protobuf's wire format: the fields of a message, those of one number in order.
struct Message {
    explicit Message(const std::string& bytes) {
        std::size_t at = 0;
        const auto varint = [&] {
            std::uint64_t value = 0;
            for (int shift = 0;; shift += 7) {
                const auto byte = static_cast<unsigned char>(bytes.at(at++));
                value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
                if (byte < 0x80) return value;
            }
        };
        while (at < bytes.size()) {
            const std::uint64_t key = varint();
            const std::uint64_t kind = key & 7;
            if (kind == 0) {
                numbers[key >> 3].push_back(varint());
                continue;
            }
            const std::size_t size = kind == 5 ? 4 : varint();
            if (kind != 2 && kind != 5) throw std::runtime_error("a kind that ONNX does not use");
            if (size > bytes.size() - at) throw std::runtime_error("cut short");
            texts[key >> 3].push_back(bytes.substr(at, size));
            at += size;
        }
    }
    std::string text(int field) const { return texts.at(static_cast<std::uint64_t>(field)).at(0); }
    Message inside(int field, std::size_t i = 0) const {
        return Message(texts.at(static_cast<std::uint64_t>(field)).at(i));
    }
    std::uint64_t number(int field) const { return numbers.at(static_cast<std::uint64_t>(field)).at(0); }

    std::map<std::uint64_t, std::vector<std::uint64_t>> numbers;
    std::map<std::uint64_t, std::vector<std::string>> texts;
};

OnnxModel two_nodes() {
    OnnxModel model{.name = "two",
                    .input = {"input", OnnxType::u8, {"N", std::int64_t{3}, std::int64_t{224}}},
                    .output = {"logits", OnnxType::f32, {"N", std::int64_t{1000}}}};
    model.nodes.push_back(
        {"BatchNormalization", "bn1", {"input", "bn1.weight"}, "bn1.out", {{"epsilon", 1e-5f}}});
    model.nodes.push_back({"MaxPool",
                           "pool",
                           {"bn1.out"},
                           "logits",
                           {{"axis", std::int64_t{-1}}, {"pads", std::vector<std::int64_t>{0, 1, 300, 1}}}});
    // Large enough for a length of three bytes.
    model.tensors = {{"bn1.weight", {2, 10000}, std::vector<float>(20000, 0.25f)}, {"scalar", {}, {-1.5f}}};
    model.tensors[0].values[19999] = 7;
    model.metadata = {{"classes", "[\"Gänseblümchen\"]"}, {"size", "224"}};
    return model;
}

std::string written(const OnnxModel& model) {
    test::SimulatedFileSystem fs;
    const std::uint64_t size = write_onnx("model.onnx", model, fs);
    const std::string bytes = read_file(fs, "model.onnx");
    EXPECT_EQ(size, bytes.size());
    return bytes;
}

TEST(OnnxWriter, writes_messages_with_the_field_numbers_of_onnx_proto) {
    const Message model(written(two_nodes()));
    EXPECT_EQ(model.number(1), 8u) << "IR version";
    EXPECT_EQ(model.text(2), "onecycle");
    EXPECT_EQ(model.inside(8).text(1), "");
    EXPECT_EQ(model.inside(8).number(2), 17u) << "opset";
    EXPECT_EQ(model.inside(14, 0).text(1), "classes");
    EXPECT_EQ(model.inside(14, 0).text(2), "[\"Gänseblümchen\"]");
    EXPECT_EQ(model.inside(14, 1).text(2), "224");

    const Message graph = model.inside(7);
    EXPECT_EQ(graph.text(2), "two");
    const Message norm = graph.inside(1, 0), pool = graph.inside(1, 1);
    EXPECT_EQ(norm.texts.at(1), (std::vector<std::string>{"input", "bn1.weight"}));
    EXPECT_EQ(norm.text(2), "bn1.out");
    EXPECT_EQ(norm.text(3), "bn1");
    EXPECT_EQ(norm.text(4), "BatchNormalization");
    const Message epsilon = norm.inside(5);
    EXPECT_EQ(epsilon.text(1), "epsilon");
    EXPECT_EQ(epsilon.number(20), 1u) << "FLOAT";
    float value = 0;
    std::memcpy(&value, epsilon.text(2).data(), sizeof value);
    EXPECT_EQ(value, 1e-5f);
    EXPECT_EQ(pool.inside(5, 0).number(3), static_cast<std::uint64_t>(-1));
    EXPECT_EQ(pool.inside(5, 0).number(20), 2u) << "INT";
    EXPECT_EQ(pool.inside(5, 1).numbers.at(8), (std::vector<std::uint64_t>{0, 1, 300, 1}));
    EXPECT_EQ(pool.inside(5, 1).number(20), 7u) << "INTS";
}

TEST(OnnxWriter, names_the_free_side_and_holds_every_element) {
    const Message graph = Message(written(two_nodes())).inside(7);
    const Message input = graph.inside(11), type = input.inside(2).inside(1);
    EXPECT_EQ(input.text(1), "input");
    EXPECT_EQ(type.number(1), 2u) << "UINT8";
    EXPECT_EQ(type.inside(2).inside(1, 0).text(2), "N");
    EXPECT_EQ(type.inside(2).inside(1, 2).number(1), 224u);
    EXPECT_EQ(graph.inside(12).text(1), "logits");
    EXPECT_EQ(graph.inside(12).inside(2).inside(1).number(1), 1u) << "FLOAT";

    const Message weight = graph.inside(5, 0), scalar = graph.inside(5, 1);
    EXPECT_EQ(weight.numbers.at(1), (std::vector<std::uint64_t>{2, 10000}));
    EXPECT_EQ(weight.number(2), 1u) << "FLOAT";
    EXPECT_EQ(weight.text(8), "bn1.weight");
    std::vector<float> values(20000);
    ASSERT_EQ(weight.text(9).size(), values.size() * sizeof(float));
    std::memcpy(values.data(), weight.text(9).data(), values.size() * sizeof(float));
    EXPECT_EQ(values, two_nodes().tensors[0].values);
    EXPECT_EQ(scalar.numbers.count(1), 0u);
    EXPECT_EQ(scalar.text(9), std::string("\0\0\xC0\xBF", 4));
}

TEST(OnnxWriter, equal_models_give_equal_bytes) {
    EXPECT_EQ(written(two_nodes()), written(two_nodes()));
}

}  // namespace
}  // namespace onecycle
