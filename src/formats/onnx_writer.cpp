#include "formats/onnx_writer.h"

#include <bit>
#include <span>

namespace onecycle {

namespace {

// A protobuf message: fields one after the other, each a key (number and kind) and a value. Fields
// with a length are texts, bytes and messages. The order of fields is free.
class Message {
  public:
    Message& number(unsigned field, std::uint64_t value) {
        key(field, 0);
        varint(value);
        return *this;
    }
    Message& number(unsigned field, float value) {
        key(field, 5);
        const auto bits = std::bit_cast<std::uint32_t>(value);
        for (int i = 0; i < 4; ++i) bytes_ += static_cast<char>(bits >> (8 * i));
        return *this;
    }
    Message& text(unsigned field, const std::string& value) {
        length(field, value.size());
        bytes_ += value;
        return *this;
    }
    Message& message(unsigned field, const Message& value) { return text(field, value.bytes_); }

    // The key and length of a field whose bytes follow elsewhere.
    Message& length(unsigned field, std::uint64_t size) {
        key(field, 2);
        varint(size);
        return *this;
    }

    const std::string& bytes() const { return bytes_; }

  private:
    void key(unsigned field, unsigned kind) { varint(field << 3 | kind); }
    void varint(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
        bytes_ += static_cast<char>(value);
    }

    std::string bytes_;
};

// The numbers are those of onnx.proto.

Message attribute(const OnnxAttribute& a) {
    enum Type : std::uint64_t { real = 1, whole = 2, wholes = 7 };
    Message m;
    m.text(1, a.name);
    if (const auto* i = std::get_if<std::int64_t>(&a.value))
        m.number(3, static_cast<std::uint64_t>(*i)).number(20, whole);
    if (const auto* f = std::get_if<float>(&a.value)) m.number(2, *f).number(20, real);
    if (const auto* list = std::get_if<std::vector<std::int64_t>>(&a.value)) {
        for (const std::int64_t i : *list) m.number(8, static_cast<std::uint64_t>(i));
        m.number(20, wholes);
    }
    return m;
}

Message node(const OnnxNode& n) {
    Message m;
    for (const std::string& input : n.inputs) m.text(1, input);
    m.text(2, n.output).text(3, n.name).text(4, n.op);
    for (const OnnxAttribute& a : n.attributes) m.message(5, attribute(a));
    return m;
}

Message value(const OnnxValue& v) {
    Message shape;
    for (const auto& side : v.shape) {
        Message dimension;
        if (const auto* name = std::get_if<std::string>(&side))
            dimension.text(2, *name);
        else
            dimension.number(1, static_cast<std::uint64_t>(std::get<std::int64_t>(side)));
        shape.message(1, dimension);
    }
    const Message tensor = Message().number(1, static_cast<std::uint64_t>(v.type)).message(2, shape);
    return Message().text(1, v.name).message(2, Message().message(1, tensor));
}

// All of a tensor's message but the elements at its end.
std::string before_elements(const OnnxTensor& t) {
    Message m;
    for (const std::int64_t side : t.shape) m.number(1, static_cast<std::uint64_t>(side));
    m.number(2, static_cast<std::uint64_t>(OnnxType::f32)).text(8, t.name);
    return m.length(9, t.values.size() * sizeof(float)).bytes();
}

}  // namespace

std::uint64_t write_onnx(const std::string& path, const OnnxModel& model, FileSystem& fs) {
    Message graph;
    for (const OnnxNode& n : model.nodes) graph.message(1, node(n));
    graph.text(2, model.name).message(11, value(model.input)).message(12, value(model.output));

    // The elements are written from where they lie: their lengths are all that the messages around
    // them need.
    std::vector<std::string> heads;
    std::uint64_t graph_bytes = graph.bytes().size();
    for (const OnnxTensor& t : model.tensors) {
        const std::string inside = before_elements(t);
        const std::uint64_t elements = t.values.size() * sizeof(float);
        heads.push_back(Message().length(5, inside.size() + elements).bytes() + inside);
        graph_bytes += heads.back().size() + elements;
    }

    constexpr std::uint64_t ir_version = 8;  // that of opset 17
    Message head;
    head.number(1, ir_version).text(2, "onecycle");
    head.message(8, Message().text(1, "").number(2, std::uint64_t{onnx_opset}));
    for (const auto& [key, text] : model.metadata) head.message(14, Message().text(1, key).text(2, text));
    head.length(7, graph_bytes);

    AtomicFile file(fs, path);
    std::uint64_t size = 0;
    const auto append = [&](std::span<const std::byte> bytes) {
        file.write_at(bytes, size);
        size += bytes.size();
    };
    append(std::as_bytes(std::span(head.bytes())));
    append(std::as_bytes(std::span(graph.bytes())));
    for (std::size_t i = 0; i < heads.size(); ++i) {
        append(std::as_bytes(std::span(heads[i])));
        append(std::as_bytes(std::span(model.tensors[i].values)));
    }
    file.commit();
    return size;
}

}  // namespace onecycle
