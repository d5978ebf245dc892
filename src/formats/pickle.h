// A pickle, run by a machine that can make nothing but plain values, descriptions of tensors, and
// placeholders.
//
// A pickle is a program: what it names is called. Here a call of anything but what makes a tensor
// leaves a placeholder that remembers the name and what was set on it, so that an optimizer's state
// or a script's arguments beside the weights are read past and nothing of them ever runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "formats/malformed.h"
#include "onecycle/tensor_file.h"

namespace onecycle {

// A pickle that holds no weights as we can take them.
struct NotAStateDict : Malformed {
    using Malformed::Malformed;
};
[[noreturn]] inline void not_tensors(const std::string& why) {
    throw NotAStateDict(why);
}

// Weights, but no tensors.
struct OtherWeights : Malformed {
    using Malformed::Malformed;
};

// A pickle that would run a program on the machine of who loads it in Python.
struct Harmful : Malformed {
    using Malformed::Malformed;
};

// Values refer to others by index and are never copied, so that sharing costs nothing and freeing
// needs no recursion.
struct PickleValue {
    static constexpr std::size_t nothing = ~std::size_t{0};

    enum class Kind : std::uint8_t {
        none,
        boolean,
        integer,
        text,
        tuple,
        list,
        dictionary,  // of any class that was made like one
        global,
        storage,
        tensor,
        object,  // a placeholder
        other    // a number, a text or bytes that no state dict needs
    } kind = Kind::none;
    std::int64_t number = 0;           // of boolean and integer; of storage its elements
    std::string string{};              // text; of global and object "module name"; of storage its key
    std::vector<std::size_t> items{};  // of tuple and list; of dictionary and object: key, value, key, value
    std::size_t of =
        nothing;  // of object: its attributes; of storage: its type, a global; of tensor: its view
    std::size_t op_from = nothing;  // of object: the arguments of the call that made it, a tuple
};

class Pickle {
  public:
    struct View {
        std::size_t storage;  // a value
        std::int64_t offset;  // elements
        std::vector<std::int64_t> shape, strides;
    };

    // Runs it to its end, which need not be that of the bytes. Throws NotAStateDict, Harmful.
    explicit Pickle(std::span<const std::byte> bytes);

    const PickleValue& operator[](std::size_t value) const { return values_[value]; }
    std::size_t root() const { return root_; }
    const PickleValue& item(const PickleValue& of, std::size_t i) const { return values_[of.items[i]]; }
    const View& view(const PickleValue& tensor) const { return views_[tensor.of]; }
    // The values of kind storage.
    const std::vector<std::size_t>& storages() const { return storages_; }
    // Bytes that it takes.
    std::size_t size() const { return size_; }

  private:
    friend class PickleMachine;

    std::deque<PickleValue> values_;  // references stay good while it grows
    std::deque<View> views_;
    std::vector<std::size_t> storages_;
    std::size_t root_ = 0, size_ = 0;
};

}  // namespace onecycle
