#include "formats/safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "core/digest.h"
#include "formats/malformed.h"

namespace onecycle {
namespace {

using nlohmann::json;

std::string quoted(const std::string& name) {
    return "'" + name + "'";
}

// Of all objects, and of all lists and objects. A tensor has four names and at most sixteen values.
constexpr std::size_t max_names = 5 * max_tensors, max_values = 16 * max_tensors;

// What json::parse does not look at, in a pass before it that builds nothing: how much it would
// build, and nlohmann keeps the last of two equal keys, and two readers that disagree on which
// counts are a trap. (Its parser with a callback could tell, in a time that grows with the square
// of the number of tensors.)
class StrictKeys : public nlohmann::json_sax<json> {
  public:
    bool null() override { return value(); }
    bool boolean(bool) override { return value(); }
    bool number_integer(number_integer_t) override { return value(); }
    bool number_unsigned(number_unsigned_t) override { return value(); }
    bool number_float(number_float_t, const string_t&) override { return value(); }
    bool string(string_t&) override { return value(); }
    bool binary(binary_t&) override { return value(); }
    bool start_object(std::size_t) override {
        open();
        keys_.emplace_back();
        return true;
    }
    bool end_object() override {
        keys_.pop_back();
        --depth_;
        return true;
    }
    bool start_array(std::size_t) override {
        open();
        return true;
    }
    bool end_array() override {
        --depth_;
        return true;
    }
    bool key(string_t& key) override {
        const std::string& name = key;
        if (!keys_.back().insert(name).second) refuse("the header has the name " + quoted(name) + " twice");
        if (keys_.size() == 1 && keys_.back().size() > max_tensors)
            refuse("the header names too many tensors");
        if (++names_ > max_names) refuse("the header has too many names");
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
        refuse("the header is not valid JSON");
    }

  private:
    void open() {
        if (++depth_ > 4) refuse("the header is nested too deeply");
        value();
    }
    bool value() {
        if (++values_ > max_values) refuse("the header has too many values");
        return true;
    }
    std::vector<std::set<std::string>> keys_;  // of the objects that are open
    int depth_ = 0;
    std::size_t names_ = 0, values_ = 0;
};

json parse_strictly(std::string_view text) {
    try {
        StrictKeys strict;
        json::sax_parse(text.begin(), text.end(), &strict);
        return json::parse(text.begin(), text.end());
    } catch (const json::exception&) {
        refuse("the header is not valid JSON");
    }
}

std::uint64_t to_count(const json& value, const std::string& tensor) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > max_offset) {
        refuse("tensor " + quoted(tensor) + " has a size that is no whole number in range");
    }
    return value.get<std::uint64_t>();
}

StoredType to_type(const json& value, const std::string& tensor) {
    using enum StoredType;
    if (value.is_string()) {
        for (const StoredType type : {f64, f32, f16, bf16, i64, i32, u8, boolean}) {
            if (value.get_ref<const std::string&>() == name_of(type)) return type;
        }
        refuse("tensor " + quoted(tensor) + " has the unknown type " +
               quoted(value.get_ref<const std::string&>()));
    }
    refuse("tensor " + quoted(tensor) + " has no type");
}

TensorInfo to_tensor(const std::string& name, const json& entry) {
    if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
        !entry.contains("data_offsets")) {
        refuse("tensor " + quoted(name) + " does not have just dtype, shape and data_offsets");
    }
    TensorInfo tensor;
    tensor.name = name;
    tensor.type = to_type(entry["dtype"], name);
    const json& shape = entry["shape"];
    if (!shape.is_array() || shape.size() > max_rank) {
        refuse("the shape of tensor " + quoted(name) + " is no list of at most 8 sizes");
    }
    for (const json& size : shape) tensor.shape.push_back(static_cast<std::int64_t>(to_count(size, name)));
    const json& offsets = entry["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2) {
        refuse("tensor " + quoted(name) + " has no pair of offsets");
    }
    tensor.offset = to_count(offsets[0], name);
    const std::uint64_t end = to_count(offsets[1], name);
    if (end < tensor.offset || end - tensor.offset != bytes_of(tensor.type, tensor.shape)) {
        refuse("tensor " + quoted(name) + " does not have the size that its shape asks for");
    }
    tensor.bytes = end - tensor.offset;
    return tensor;
}

std::map<std::string, std::string> to_metadata(const json& entry) {
    if (!entry.is_object()) refuse("the metadata is no list of texts");
    std::map<std::string, std::string> metadata;
    for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) refuse("the metadata entry " + quoted(key) + " is no text");
        metadata[key] = value.get<std::string>();
    }
    return metadata;
}

}  // namespace

std::uint64_t bytes_of(StoredType type, const std::vector<std::int64_t>& shape) {
    std::uint64_t bytes = size_of(type);
    bool too_large = false;
    for (const std::int64_t size : shape) {
        too_large |= size < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes);
    }
    if (too_large || bytes > max_offset) refuse("a tensor is too large");
    return bytes;
}

SafetensorsHeader parse_header(std::string_view text, std::uint64_t data_bytes) {
    const json root = parse_strictly(text);
    if (!root.is_object()) refuse("the header is no JSON object");
    SafetensorsHeader header;
    for (const auto& [name, entry] : root.items()) {
        if (name == "__metadata__") {
            header.metadata = to_metadata(entry);
        } else {
            header.tensors.push_back(to_tensor(name, entry));
        }
    }
    std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
        return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
    });
    std::uint64_t end = 0;
    for (const TensorInfo& tensor : header.tensors) {
        if (tensor.offset != end) {
            refuse("tensor " + quoted(tensor.name) + " does not start where the one before it ends");
        }
        end += tensor.bytes;
    }
    if (end != data_bytes) {
        refuse(end > data_bytes ? "the file is cut short" : "there are bytes after the last tensor");
    }
    return header;
}

std::string format_header(const SafetensorsHeader& header) {
    try {
        std::string text = "{\"__metadata__\":" + json(header.metadata).dump();
        for (const TensorInfo& tensor : header.tensors) {
            text += ',' + json(tensor.name).dump() + ":{\"dtype\":\"" + name_of(tensor.type) +
                    "\",\"shape\":" + json(tensor.shape).dump() + ",\"data_offsets\":[" +
                    std::to_string(tensor.offset) + ',' + std::to_string(tensor.offset + tensor.bytes) + "]}";
        }
        text += '}';
        text.resize((text.size() + 7) / 8 * 8, ' ');
        return text;
    } catch (const json::exception&) {
        refuse("a name or a text is not UTF-8");
    }
}

std::size_t find_header_digest(std::string_view text) {
    // Quotes inside a JSON text are escaped, so this matches nothing but the entry itself.
    const std::string start = '"' + std::string(header_digest_key) + "\":\"";
    const std::size_t found = text.find(start);
    return found == std::string_view::npos ? found : found + start.size();
}

std::string digest_of_header(std::string text) {
    const std::size_t place = find_header_digest(text);
    text.replace(place, Digest::hex_digits, Digest::hex_digits, '0');
    Digest digest;
    digest.update(std::as_bytes(std::span(text)));
    return digest.hex();
}

}  // namespace onecycle
