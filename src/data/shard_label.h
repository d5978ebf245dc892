// The label that stands beside an image in a shard: key.cls, or a field of key.json.
#pragma once

#include <string>
#include <string_view>

namespace onecycle {

struct ShardLabel {
    std::string cls{}, json{};  // what each says; empty: nothing
    std::string fault{};        // why they cannot be used

    void add_cls(std::string_view contents, bool too_long);
    // A number, or a text, in the field cls, label or class.
    void add_json(std::string_view contents, bool too_long);
    const std::string& text() const { return cls.empty() ? json : cls; }

  private:
    bool has_cls_ = false, has_json_ = false;
    void take(std::string& mine, const std::string& label, bool& has, const char* name);
};

// Whether the label is the number of a class.
bool is_class_number(std::string_view label);

}  // namespace onecycle
