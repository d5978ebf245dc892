#include "formats/pickle.h"

#include <cstring>
#include <deque>
#include <set>
#include <string_view>
#include <unordered_map>

#include "formats/safetensors_header.h"
#include "onecycle/error.h"

namespace onecycle {
namespace {

// A state dict of a ResNet50 takes 12,000 instructions and 45 kB.
constexpr std::size_t max_instructions = 1'000'000, max_stack = 100'000, max_text = 64 << 10, max_name = 512;

[[noreturn]] void refuse(const std::string& why) {
    throw NotAStateDict(why);
}

// What the machine computes with. Values refer to others by index and are never copied, so that sharing costs
// nothing and freeing needs no recursion.
struct Value {
    enum Kind {
        none,
        boolean,
        integer,
        real,
        text,
        tuple,
        list,
        dictionary,
        global,
        storage,
        tensor
    } kind = none;
    std::int64_t number = 0;           // of boolean and integer
    std::string string{};              // text; of global the name; of storage the key
    std::vector<std::size_t> items{};  // of dictionary: key, value, key, value
    std::set<std::string> keys{};      // of dictionary: those that are texts
    bool ordered = false;              // an OrderedDict
    StoredType type{};                 // of storage
    std::size_t of_storage = 0;        // of tensor
    std::int64_t offset = 0;
    std::vector<std::int64_t> shape{}, strides{};
};

struct StorageType {
    const char* name;
    StoredType type;
};
constexpr StorageType storage_types[] = {{"torch FloatStorage", StoredType::f32},
                                         {"torch DoubleStorage", StoredType::f64},
                                         {"torch HalfStorage", StoredType::f16},
                                         {"torch BFloat16Storage", StoredType::bf16},
                                         {"torch LongStorage", StoredType::i64}};
constexpr std::string_view ordered_dict = "collections OrderedDict",
                           rebuild_tensor = "torch._utils _rebuild_tensor_v2",
                           rebuild_parameter = "torch._utils _rebuild_parameter";

bool is_known(std::string_view global) {
    for (const StorageType& s : storage_types)
        if (global == s.name) return true;
    return global == ordered_dict || global == rebuild_tensor || global == rebuild_parameter;
}

// The bytes still to be run.
class Code {
  public:
    explicit Code(std::span<const std::byte> bytes) : bytes_(bytes) {}

    template <class Number>
    Number next() {
        Number value;
        std::memcpy(&value, take(sizeof value).data(), sizeof value);
        return value;
    }
    std::string_view text(std::size_t n) {
        const auto taken = take(n);
        return {reinterpret_cast<const char*>(taken.data()), n};
    }
    std::string_view line() {
        const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
        const std::size_t end = rest.substr(0, max_name).find('\n');
        if (end == std::string_view::npos) refuse("its pickle has a name without end");
        return text(end + 1).substr(0, end);
    }
    bool empty() const { return bytes_.empty(); }

  private:
    std::span<const std::byte> take(std::size_t n) {
        if (n > bytes_.size()) refuse("its pickle is cut short");
        const auto taken = bytes_.first(n);
        bytes_ = bytes_.subspan(n);
        return taken;
    }

    std::span<const std::byte> bytes_;
};

class Machine {
  public:
    explicit Machine(std::span<const std::byte> pickle) : code_(pickle) {}

    // The value that the pickle leaves.
    const Value& run() {
        for (std::size_t n = 0; n < max_instructions; ++n) {
            const auto instruction = code_.next<std::uint8_t>();
            if (instruction == '.') {
                if (stack_.size() != 1 || !marks_.empty() || !code_.empty())
                    refuse("its pickle is malformed");
                return top();
            }
            execute(instruction);
            if (stack_.size() > max_stack) refuse("its pickle is too large");
        }
        refuse("its pickle is too large");
    }

    const Value& operator[](std::size_t value) const { return values_[value]; }

  private:
    // The instructions of protocol 2 (https://docs.python.org/3/library/pickletools.html) that torch.save uses.
    void execute(std::uint8_t instruction) {
        switch (instruction) {
            case 0x80:  // PROTO
                if (code_.next<std::uint8_t>() != 2) refuse("its pickle is not of protocol 2");
                return;
            case 'N':
                return push({.kind = Value::none});
            case 0x88:  // NEWTRUE
            case 0x89:  // NEWFALSE
                return push({.kind = Value::boolean, .number = instruction == 0x88});
            case 'K':  // BININT1
                return push_integer(code_.next<std::uint8_t>());
            case 'M':  // BININT2
                return push_integer(code_.next<std::uint16_t>());
            case 'J':  // BININT
                return push_integer(code_.next<std::int32_t>());
            case 0x8A:  // LONG1
                return push_long();
            case 'G':  // BINFLOAT; no state dict needs its value
                code_.next<double>();
                return push({.kind = Value::real});
            case 'X':  // BINUNICODE
                return push_text();
            case '(':
                return marks_.push_back(stack_.size());
            case ')':
                return push({.kind = Value::tuple});
            case 0x85:  // TUPLE1
            case 0x86:
            case 0x87:
                return push({.kind = Value::tuple, .items = pop(instruction - std::size_t{0x84})});
            case 't':
                return push({.kind = Value::tuple, .items = pop_to_mark()});
            case ']':
                return push({.kind = Value::list});
            case 'a':
                return append(pop(1));
            case 'e':
                return append(pop_to_mark());
            case '}':
                return push({.kind = Value::dictionary});
            case 's':
                return set_items(pop(2));
            case 'u':
                return set_items(pop_to_mark());
            case 'q':  // BINPUT
                return put(code_.next<std::uint8_t>());
            case 'r':  // LONG_BINPUT
                return put(code_.next<std::uint32_t>());
            case 'h':  // BINGET
                return get(code_.next<std::uint8_t>());
            case 'j':  // LONG_BINGET
                return get(code_.next<std::uint32_t>());
            case 'c':
                return push_global();
            case 'Q':  // BINPERSID
                return push_storage(pop(1)[0]);
            case 'R':
                return reduce();
            case 'b':
                return build();
            default:
                refuse("its pickle has the instruction " + hex(instruction) + ", which no state dict needs");
        }
    }

    static std::string hex(std::uint8_t byte) {
        constexpr const char* digits = "0123456789abcdef";
        return {'0', 'x', digits[byte >> 4], digits[byte & 15]};
    }

    // --- stack and memo ---

    void push(Value value) {
        values_.push_back(std::move(value));
        stack_.push_back(values_.size() - 1);
    }
    void push_integer(std::int64_t number) { push({.kind = Value::integer, .number = number}); }

    Value& top() {
        if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size()))
            refuse("its pickle takes more than there is");
        return values_[stack_.back()];
    }

    // The last n, which a mark must not divide.
    std::vector<std::size_t> pop(std::size_t n) {
        const std::size_t low = marks_.empty() ? 0 : marks_.back();
        if (stack_.size() - low < n) refuse("its pickle takes more than there is");
        std::vector<std::size_t> items(stack_.end() - static_cast<std::ptrdiff_t>(n), stack_.end());
        stack_.resize(stack_.size() - n);
        return items;
    }
    std::vector<std::size_t> pop_to_mark() {
        if (marks_.empty()) refuse("its pickle takes more than there is");
        std::vector<std::size_t> items = pop(stack_.size() - marks_.back());
        marks_.pop_back();
        return items;
    }

    void put(std::uint32_t place) {
        top();
        memo_[place] = stack_.back();
    }
    void get(std::uint32_t place) {
        const auto found = memo_.find(place);
        if (found == memo_.end()) refuse("its pickle recalls what was never stored");
        stack_.push_back(found->second);
    }

    // --- values ---

    void push_long() {
        const std::size_t n = code_.next<std::uint8_t>();
        if (n > 8) refuse("its pickle has a number of more than 64 bits");
        const std::string_view bytes = code_.text(n);
        std::uint64_t bits = n > 0 && (bytes[n - 1] & 0x80) ? ~std::uint64_t{0} : 0;  // two's complement
        std::memcpy(&bits, bytes.data(), n);
        push_integer(static_cast<std::int64_t>(bits));
    }

    void push_text() {
        const std::uint32_t n = code_.next<std::uint32_t>();
        if (n > max_text) refuse("its pickle has a text of " + std::to_string(n) + " bytes");
        push({.kind = Value::text, .string = std::string(code_.text(n))});
    }

    void push_global() {
        const std::string_view module = code_.line(), name = code_.line();
        std::string global = std::string(module) + ' ' + std::string(name);
        if (!is_known(global))
            refuse("it asks for the Python object '" + std::string(module) + '.' + std::string(name) +
                   "', and nothing but tensors is loaded");
        push({.kind = Value::global, .string = std::move(global)});
    }

    void append(const std::vector<std::size_t>& items) {
        Value& list = top();
        if (list.kind != Value::list) refuse("its pickle appends to what is no list");
        list.items.insert(list.items.end(), items.begin(), items.end());
    }

    void set_items(const std::vector<std::size_t>& items) {
        Value& dictionary = top();
        if (dictionary.kind != Value::dictionary || items.size() % 2 != 0)
            refuse("its pickle sets entries of what is no dictionary");
        for (std::size_t i = 0; i < items.size(); i += 2) {
            const Value& key = values_[items[i]];
            if (key.kind == Value::text && !dictionary.keys.insert(key.string).second)
                refuse("its pickle has the name '" + key.string + "' twice");
        }
        dictionary.items.insert(dictionary.items.end(), items.begin(), items.end());
    }

    const Value& item(const Value& of, std::size_t i) const { return values_[of.items[i]]; }

    // ('storage', type, key, location, elements)
    void push_storage(std::size_t id) {
        const Value& tuple = values_[id];
        const bool right = tuple.kind == Value::tuple && tuple.items.size() == 5 &&
                           item(tuple, 0).kind == Value::text && item(tuple, 0).string == "storage" &&
                           item(tuple, 1).kind == Value::global && item(tuple, 2).kind == Value::text &&
                           item(tuple, 3).kind == Value::text && item(tuple, 4).kind == Value::integer &&
                           item(tuple, 4).number >= 0;
        if (!right) refuse("its pickle has a malformed storage");
        const std::string& key = item(tuple, 2).string;
        if (key.empty() || key.size() > 20 || key.find_first_not_of("0123456789") != std::string::npos)
            refuse("its pickle has a storage without a number");
        for (const StorageType& s : storage_types)
            if (item(tuple, 1).string == s.name)
                return push(
                    {.kind = Value::storage, .number = item(tuple, 4).number, .string = key, .type = s.type});
        refuse("its pickle has a storage of no type");
    }

    void reduce() {
        const std::vector<std::size_t> operands = pop(2);
        const Value& function = values_[operands[0]];
        const Value& arguments = values_[operands[1]];
        if (function.kind != Value::global || arguments.kind != Value::tuple)
            refuse("its pickle calls what is no function");
        if (function.string == ordered_dict) {
            if (!arguments.items.empty()) refuse("its pickle has a malformed OrderedDict");
            push({.kind = Value::dictionary, .ordered = true});
        } else if (function.string == rebuild_tensor) {
            push_tensor(arguments);
        } else if (function.string == rebuild_parameter) {
            if (arguments.items.size() != 3 || item(arguments, 0).kind != Value::tensor)
                refuse("its pickle has a malformed parameter");
            stack_.push_back(arguments.items[0]);
        } else {
            refuse("its pickle calls what is no function");
        }
    }

    std::vector<std::int64_t> numbers(const Value& tuple) const {
        if (tuple.kind != Value::tuple || tuple.items.size() > max_rank)
            refuse("its pickle has a malformed tensor");
        std::vector<std::int64_t> values;
        for (std::size_t i = 0; i < tuple.items.size(); ++i) {
            if (item(tuple, i).kind != Value::integer || item(tuple, i).number < 0)
                refuse("its pickle has a malformed tensor");
            values.push_back(item(tuple, i).number);
        }
        return values;
    }

    // (storage, offset, shape, strides, requires_grad, hooks [, metadata])
    void push_tensor(const Value& arguments) {
        const std::size_t n = arguments.items.size();
        if ((n != 6 && n != 7) || item(arguments, 0).kind != Value::storage ||
            item(arguments, 1).kind != Value::integer || item(arguments, 1).number < 0)
            refuse("its pickle has a malformed tensor");
        Value tensor{
            .kind = Value::tensor, .of_storage = arguments.items[0], .offset = item(arguments, 1).number};
        tensor.shape = numbers(item(arguments, 2));
        tensor.strides = numbers(item(arguments, 3));
        if (tensor.shape.size() != tensor.strides.size()) refuse("its pickle has a malformed tensor");
        check_view(tensor, static_cast<std::uint64_t>(item(arguments, 0).number));
        push(std::move(tensor));
    }

    // Within the storage, and no larger than it: a view that repeats elements could claim any size.
    static void check_view(const Value& tensor, std::uint64_t storage_elements) {
        std::uint64_t elements = 1, last = static_cast<std::uint64_t>(tensor.offset);
        bool outside = false, empty = false;
        for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
            const auto size = static_cast<std::uint64_t>(tensor.shape[i]);
            if (size == 0) empty = true;
            std::uint64_t reach = 0;
            if (size > 0)
                outside |=
                    __builtin_mul_overflow(size - 1, static_cast<std::uint64_t>(tensor.strides[i]), &reach) ||
                    __builtin_add_overflow(last, reach, &last);
            outside |= __builtin_mul_overflow(elements, size, &elements);
        }
        if (empty && !outside) return;
        if (outside || last >= storage_elements)
            refuse("its pickle has a tensor that reaches beyond its storage");
        if (elements > storage_elements)
            refuse("its pickle has a tensor that repeats elements of its storage");
    }

    // OrderedDict's `_metadata`, the versions of modules: read past.
    void build() {
        const Value& state = values_[pop(1)[0]];
        const Value& object = top();
        if (object.kind != Value::dictionary || !object.ordered || state.kind != Value::dictionary ||
            state.items.size() != 2 || !state.keys.count("_metadata"))
            refuse("its pickle sets attributes, and nothing but tensors is loaded");
    }

    Code code_;
    std::deque<Value> values_;  // references stay good while it grows
    std::vector<std::size_t> stack_, marks_;
    std::unordered_map<std::uint32_t, std::size_t> memo_;
};

// The dictionary of tensors: the whole, or the entry that training scripts put it in.
const Value& state_dict_in(const Machine& machine, const Value& whole) {
    if (whole.kind != Value::dictionary) refuse("it holds no dictionary of tensors");
    for (std::size_t i = 1; i < whole.items.size(); i += 2)
        if (machine[whole.items[i]].kind == Value::tensor) return whole;
    for (const char* name : {"state_dict", "model"})
        for (std::size_t i = 0; i < whole.items.size(); i += 2)
            if (machine[whole.items[i]].string == name &&
                machine[whole.items[i + 1]].kind == Value::dictionary)
                return machine[whole.items[i + 1]];
    refuse("it holds no dictionary of tensors");
}

void drop_prefix(std::vector<PickledTensor>& tensors, std::string_view prefix) {
    for (const PickledTensor& tensor : tensors)
        if (!tensor.name.starts_with(prefix)) return;
    for (PickledTensor& tensor : tensors) tensor.name.erase(0, prefix.size());
}

}  // namespace

std::vector<PickledTensor> parse_state_dict(std::span<const std::byte> pickle) {
    Machine machine(pickle);
    const Value& dictionary = state_dict_in(machine, machine.run());
    std::vector<PickledTensor> tensors;
    for (std::size_t i = 0; i < dictionary.items.size(); i += 2) {
        const Value& key = machine[dictionary.items[i]];
        const Value& tensor = machine[dictionary.items[i + 1]];
        if (key.kind != Value::text || key.string.size() > max_name)
            refuse("its state dict has an entry without a name");
        if (tensor.kind != Value::tensor)
            refuse("the entry '" + key.string + "' of its state dict is no tensor");
        const Value& storage = machine[tensor.of_storage];
        tensors.push_back({key.string, storage.type, storage.string,
                           static_cast<std::uint64_t>(storage.number),
                           static_cast<std::uint64_t>(tensor.offset), tensor.shape, tensor.strides});
    }
    drop_prefix(tensors, "module.");
    return tensors;
}

}  // namespace onecycle
