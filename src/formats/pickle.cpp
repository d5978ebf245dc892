#include "formats/pickle.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "formats/safetensors_header.h"

namespace onecycle {
namespace {

// A state dict of a ResNet50 takes 12,000 instructions, a checkpoint with Adam's moments 60,000.
constexpr std::size_t max_instructions = 4'000'000, max_stack = 100'000, max_name = 512;

// What no file of weights needs, and what runs programs, opens files or makes code.
bool is_harmful(std::string_view module, std::string_view name) {
    const std::string_view package = module.substr(0, module.find('.'));
    for (const char* bad :
         {"os", "posix", "nt", "subprocess", "commands", "sys", "socket", "shutil", "pty", "runpy",
          "importlib", "webbrowser", "ctypes", "code", "codeop", "pdb", "bdb", "pip", "timeit"})
        if (package == bad) return true;
    if (module != "builtins" && module != "__builtin__") return false;
    for (const char* bad :
         {"eval", "exec", "execfile", "compile", "open", "__import__", "input", "breakpoint"})
        if (name == bad) return true;
    return false;
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
    std::string_view text(std::uint64_t n) {
        const auto taken = take(n);
        return {reinterpret_cast<const char*>(taken.data()), taken.size()};
    }
    std::string_view line() {
        const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
        const std::size_t end = rest.substr(0, max_name).find('\n');
        if (end == std::string_view::npos) not_tensors("its pickle has a name without end");
        return text(end + 1).substr(0, end);
    }
    std::size_t left() const { return bytes_.size(); }

  private:
    std::span<const std::byte> take(std::uint64_t n) {
        if (n > bytes_.size()) not_tensors("its pickle is cut short");
        const auto taken = bytes_.first(n);
        bytes_ = bytes_.subspan(n);
        return taken;
    }

    std::span<const std::byte> bytes_;
};

}  // namespace

class PickleMachine {
  public:
    using Kind = PickleValue::Kind;

    PickleMachine(Pickle& made, std::span<const std::byte> bytes) : made_(made), code_(bytes) {
        for (std::size_t n = 0; n < max_instructions; ++n) {
            const auto instruction = code_.next<std::uint8_t>();
            if (instruction == '.') {
                if (stack_.size() != 1 || !marks_.empty()) not_tensors("its pickle is malformed");
                made_.root_ = stack_.back();
                made_.size_ = bytes.size() - code_.left();
                return;
            }
            execute(instruction);
            if (stack_.size() > max_stack) not_tensors("its pickle is too large");
        }
        not_tensors("its pickle is too large");
    }

  private:
    // The instructions (https://docs.python.org/3/library/pickletools.html) that protocols 1 to 5
    // write.
    void execute(std::uint8_t instruction) {
        switch (instruction) {
            case 0x80:  // PROTO
                if (code_.next<std::uint8_t>() > 5) not_tensors("its pickle is of a protocol above 5");
                return;
            case 0x95:  // FRAME; what it holds follows
                code_.next<std::uint64_t>();
                return;
            case 'N':
                return push({.kind = Kind::none});
            case 0x88:  // NEWTRUE
            case 0x89:  // NEWFALSE
                return push({.kind = Kind::boolean, .number = instruction == 0x88});
            case 'K':  // BININT1
                return push_integer(code_.next<std::uint8_t>());
            case 'M':  // BININT2
                return push_integer(code_.next<std::uint16_t>());
            case 'J':  // BININT
                return push_integer(code_.next<std::int32_t>());
            case 0x8A:  // LONG1
                return push_long(code_.next<std::uint8_t>());
            case 0x8B:  // LONG4
                return push_long(code_.next<std::uint32_t>());
            case 'G':  // BINFLOAT
                code_.next<double>();
                return push({.kind = Kind::other});
            case 'X':  // BINUNICODE
            case 'T':  // BINSTRING, a text of Python 2
                return push_text(code_.next<std::uint32_t>());
            case 0x8C:  // SHORT_BINUNICODE
            case 'U':   // SHORT_BINSTRING
                return push_text(code_.next<std::uint8_t>());
            case 0x8D:  // BINUNICODE8
                return push_text(code_.next<std::uint64_t>());
            case 'C':  // SHORT_BINBYTES
                return push_bytes(code_.next<std::uint8_t>());
            case 'B':  // BINBYTES
                return push_bytes(code_.next<std::uint32_t>());
            case 0x8E:  // BINBYTES8
            case 0x96:  // BYTEARRAY8
                return push_bytes(code_.next<std::uint64_t>());
            default:
                return combine(instruction);
        }
    }

    // Those that use what is on the stack.
    void combine(std::uint8_t instruction) {
        switch (instruction) {
            case '(':
                return marks_.push_back(stack_.size());
            case '0':  // POP
                pop(1);
                return;
            case '1':  // POP_MARK
                pop_to_mark();
                return;
            case '2':  // DUP
                top();
                return stack_.push_back(stack_.back());
            case ')':
                return push({.kind = Kind::tuple});
            case 0x85:  // TUPLE1
            case 0x86:
            case 0x87:
                return push({.kind = Kind::tuple, .items = pop(instruction - std::size_t{0x84})});
            case 't':
                return push({.kind = Kind::tuple, .items = pop_to_mark()});
            case ']':
            case 0x8F:  // EMPTY_SET
                return push({.kind = Kind::list});
            case 0x91:  // FROZENSET
                return push({.kind = Kind::list, .items = pop_to_mark()});
            case 'a':
                return append(pop(1));
            case 'e':
            case 0x90:  // ADDITEMS
                return append(pop_to_mark());
            case '}':
                return push({.kind = Kind::dictionary});
            case 's':
                return set_items(pop(2));
            case 'u':
                return set_items(pop_to_mark());
            case 'q':  // BINPUT
                return put(code_.next<std::uint8_t>());
            case 'r':  // LONG_BINPUT
                return put(code_.next<std::uint32_t>());
            case 0x94:  // MEMOIZE
                return put(static_cast<std::uint32_t>(memo_.size()));
            case 'h':  // BINGET
                return get(code_.next<std::uint8_t>());
            case 'j':  // LONG_BINGET
                return get(code_.next<std::uint32_t>());
            default:
                return make(instruction);
        }
    }

    // Those that name, call and set.
    void make(std::uint8_t instruction) {
        switch (instruction) {
            case 'c': {
                const std::string_view module = code_.line();
                return push_global(module, code_.line());
            }
            case 0x93: {  // STACK_GLOBAL
                const auto names = pop(2);
                if (value(names[0]).kind != Kind::text || value(names[1]).kind != Kind::text)
                    not_tensors("its pickle has a name that is no text");
                return push_global(value(names[0]).string, value(names[1]).string);
            }
            case 'Q':  // BINPERSID
                return push_storage(pop(1)[0]);
            case 'R': {
                const auto operands = pop(2);
                return call(operands[0], operands[1]);
            }
            case 0x81:    // NEWOBJ
            case 0x92: {  // NEWOBJ_EX
                const auto operands = pop(instruction == 0x81 ? 2 : 3);
                return push_object(operands[0], operands[1]);
            }
            case 'o': {  // OBJ
                const auto operands = pop_to_mark();
                if (operands.empty()) not_tensors("its pickle takes more than there is");
                return push_object(operands[0]);
            }
            case 'b':
                return build();
            default:
                not_tensors("its pickle has the instruction " + hex(instruction) +
                            ", which no state dict needs");
        }
    }

    static std::string hex(std::uint8_t byte) {
        constexpr const char* digits = "0123456789abcdef";
        return {'0', 'x', digits[byte >> 4], digits[byte & 15]};
    }

    // --- stack and memo ---

    PickleValue& value(std::size_t index) { return made_.values_[index]; }
    const PickleValue& item(const PickleValue& of, std::size_t i) { return value(of.items[i]); }

    void push(PickleValue made) {
        made_.values_.push_back(std::move(made));
        stack_.push_back(made_.values_.size() - 1);
    }
    void push_integer(std::int64_t number) { push({.kind = Kind::integer, .number = number}); }

    PickleValue& top() {
        if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size()))
            not_tensors("its pickle takes more than there is");
        return value(stack_.back());
    }

    // The last n, which a mark must not divide.
    std::vector<std::size_t> pop(std::size_t n) {
        const std::size_t low = marks_.empty() ? 0 : marks_.back();
        if (stack_.size() - low < n) not_tensors("its pickle takes more than there is");
        std::vector<std::size_t> items(stack_.end() - static_cast<std::ptrdiff_t>(n), stack_.end());
        stack_.resize(stack_.size() - n);
        return items;
    }
    std::vector<std::size_t> pop_to_mark() {
        if (marks_.empty()) not_tensors("its pickle takes more than there is");
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
        if (found == memo_.end()) not_tensors("its pickle recalls what was never stored");
        stack_.push_back(found->second);
    }

    // --- plain values ---

    void push_long(std::uint32_t n) {
        const std::string_view bytes = code_.text(n);
        if (n > 8) return push({.kind = Kind::other, .string = std::string(bytes.substr(0, max_name))});
        std::uint64_t bits = n > 0 && (bytes[n - 1] & 0x80) ? ~std::uint64_t{0} : 0;  // two's complement
        std::memcpy(&bits, bytes.data(), n);
        push_integer(static_cast<std::int64_t>(bits));
    }

    // One that is too long for a name is none.
    void push_text(std::uint64_t n) {
        const std::string_view text = code_.text(n);
        if (n > max_name) return push({.kind = Kind::other});
        push({.kind = Kind::text, .string = std::string(text)});
    }

    void push_bytes(std::uint64_t n) {
        code_.text(n);
        push({.kind = Kind::other});
    }

    void append(const std::vector<std::size_t>& items) {
        PickleValue& list = top();
        if (list.kind == Kind::object) return;  // of a class that is a list
        if (list.kind != Kind::list) not_tensors("its pickle appends to what is no list");
        list.items.insert(list.items.end(), items.begin(), items.end());
    }

    void set_items(const std::vector<std::size_t>& items) {
        PickleValue& dictionary = top();
        if ((dictionary.kind != Kind::dictionary && dictionary.kind != Kind::object) || items.size() % 2 != 0)
            not_tensors("its pickle sets entries of what is no dictionary");
        dictionary.items.insert(dictionary.items.end(), items.begin(), items.end());
    }

    // --- names and calls ---

    void push_global(std::string_view module, std::string_view name) {
        if (is_harmful(module, name))
            throw Harmful("it asks for the Python object '" + std::string(module) + '.' + std::string(name) +
                          "', which no file of weights needs: whoever loads it in Python runs a program");
        push({.kind = Kind::global, .string = std::string(module) + ' ' + std::string(name)});
    }

    void push_object(std::size_t of, std::size_t arguments = PickleValue::nothing) {
        if (value(of).kind != Kind::global && value(of).kind != Kind::object)
            not_tensors("its pickle makes an object of no class");
        push({.kind = Kind::object, .string = value(of).string, .op_from = arguments});
    }

    void call(std::size_t function, std::size_t arguments) {
        if (value(function).kind == Kind::object)
            return push_object(function, arguments);  // what a placeholder returns
        if (value(function).kind != Kind::global || value(arguments).kind != Kind::tuple)
            not_tensors("its pickle calls what is no function");
        const std::string& name = value(function).string;
        const PickleValue& given = value(arguments);
        if (name == "collections OrderedDict" || name == "collections defaultdict")
            return push_dictionary(given);
        if (name == "torch._utils _rebuild_tensor_v2" || name == "torch._utils _rebuild_tensor")
            return push_tensor(given);
        if (name == "torch._utils _rebuild_parameter" ||
            name == "torch._utils _rebuild_parameter_with_state") {
            if (given.items.empty()) not_tensors("its pickle has a malformed parameter");
            return stack_.push_back(given.items[0]);  // the tensor that it was made of
        }
        // The tensor of a subclass: function, class, arguments, attributes.
        if (name == "torch._tensor _rebuild_from_type_v2" && given.items.size() == 4 && ++depth_ < 8)
            return call(given.items[0], given.items[2]), static_cast<void>(--depth_);
        // The class stands among the arguments.
        if (name == "copyreg _reconstructor" || name == "copy_reg _reconstructor")
            if (!given.items.empty() && item(given, 0).kind == Kind::global)
                return push_object(given.items[0]);
        push_object(function, arguments);
    }

    // Empty, or of pairs, as Python 2 wrote them.
    void push_dictionary(const PickleValue& arguments) {
        PickleValue made{.kind = Kind::dictionary};
        if (!arguments.items.empty() && item(arguments, 0).kind == Kind::list)
            for (const std::size_t pair : item(arguments, 0).items)
                if (value(pair).items.size() == 2)
                    made.items.insert(made.items.end(), value(pair).items.begin(), value(pair).items.end());
        push(std::move(made));
    }

    // ('storage', type, key, location, elements [, view])
    void push_storage(std::size_t id) {
        const PickleValue& tuple = value(id);
        const std::size_t n = tuple.items.size();
        const bool right = tuple.kind == Kind::tuple && (n == 5 || n == 6) &&
                           item(tuple, 0).kind == Kind::text && item(tuple, 0).string == "storage" &&
                           item(tuple, 1).kind == Kind::global && item(tuple, 2).kind == Kind::text &&
                           item(tuple, 4).kind == Kind::integer && item(tuple, 4).number >= 0;
        if (!right) not_tensors("its pickle has a malformed storage");
        const std::string& key = item(tuple, 2).string;
        if (key.empty() || key.size() > 20 || key.find_first_not_of("0123456789") != std::string::npos)
            not_tensors("its pickle has a storage without a number");
        if (n == 6 && item(tuple, 5).kind != Kind::none) not_tensors("its pickle has a part of a storage");
        push({.kind = Kind::storage, .number = item(tuple, 4).number, .string = key, .of = tuple.items[1]});
        made_.storages_.push_back(stack_.back());
    }

    std::vector<std::int64_t> numbers(const PickleValue& tuple) {
        if (tuple.kind != Kind::tuple || tuple.items.size() > max_rank)
            not_tensors("its pickle has a malformed tensor");
        std::vector<std::int64_t> values;
        for (std::size_t i = 0; i < tuple.items.size(); ++i) {
            if (item(tuple, i).kind != Kind::integer || item(tuple, i).number < 0)
                not_tensors("its pickle has a malformed tensor");
            values.push_back(item(tuple, i).number);
        }
        return values;
    }

    // (storage, offset, shape, strides [, requires_grad, hooks [, metadata]])
    void push_tensor(const PickleValue& arguments) {
        const std::size_t n = arguments.items.size();
        if (n > 0 && item(arguments, 0).kind == Kind::object)  // whose bytes stand in the pickle itself
            return push({.kind = Kind::object, .string = item(arguments, 0).string});
        if (n < 4 || n > 7 || item(arguments, 0).kind != Kind::storage ||
            item(arguments, 1).kind != Kind::integer || item(arguments, 1).number < 0)
            not_tensors("its pickle has a malformed tensor");
        Pickle::View view{arguments.items[0], item(arguments, 1).number, numbers(item(arguments, 2)),
                          numbers(item(arguments, 3))};
        if (view.shape.size() != view.strides.size()) not_tensors("its pickle has a malformed tensor");
        made_.views_.push_back(std::move(view));
        push({.kind = Kind::tensor, .of = made_.views_.size() - 1});
    }

    // A dictionary's own attributes, as the versions of modules in an OrderedDict's, are read past.
    void build() {
        const std::size_t state = pop(1)[0];
        PickleValue& object = top();
        if (object.kind == Kind::object) object.of = state;
    }

    Pickle& made_;
    Code code_;
    std::vector<std::size_t> stack_, marks_;
    std::unordered_map<std::uint32_t, std::size_t> memo_;
    int depth_ = 0;  // of calls within calls
};

Pickle::Pickle(std::span<const std::byte> bytes) {
    PickleMachine(*this, bytes);
}

}  // namespace onecycle
