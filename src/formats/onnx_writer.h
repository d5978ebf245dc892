// ONNX files (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), written without a protobuf
// library: the few messages that an image classifier needs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/file.h"

namespace onecycle {

inline constexpr int onnx_opset = 17;

enum class OnnxType : std::uint8_t { f32 = 1, u8 = 2 };  // TensorProto.DataType

// A tensor that the file holds.
struct OnnxTensor {
    std::string name;
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};

struct OnnxAttribute {
    std::string name;
    std::variant<std::int64_t, float, std::vector<std::int64_t>> value;
};

struct OnnxNode {
    std::string op;
    std::string name;
    std::vector<std::string> inputs;
    std::string output;
    std::vector<OnnxAttribute> attributes{};
};

// An input or output of the graph. A side is a number, or a name where it is free ("N").
struct OnnxValue {
    std::string name;
    OnnxType type = OnnxType::f32;
    std::vector<std::variant<std::int64_t, std::string>> shape;
};

struct OnnxModel {
    std::string name;
    OnnxValue input, output;
    std::vector<OnnxNode> nodes;  // each after those it reads from
    std::vector<OnnxTensor> tensors;
    std::map<std::string, std::string> metadata;  // metadata_props, texts in UTF-8
};

// Writes the file, atomically and durably; one that is there is replaced. Equal models give equal
// bytes. Returns its size. Throws Error(io); the old file is then untouched.
std::uint64_t write_onnx(const std::string& path, const OnnxModel& model,
                         FileSystem& fs = posix_file_system());

}  // namespace onecycle
