#include "formats/state_dict.h"

#include <algorithm>
#include <optional>
#include <set>

#include "formats/safetensors_header.h"

namespace onecycle {
namespace {

using Kind = PickleValue::Kind;

constexpr int deepest = 4, deepest_module = 16;
constexpr std::size_t most_places = 20'000;                      // looked at
constexpr std::uint64_t most_repeated = std::uint64_t{1} << 24;  // elements of a view that repeats some

struct StorageType {
    const char* name;
    std::size_t bytes;
    std::optional<StoredType> type;  // none: a tensor of it is left out
};
constexpr StorageType storage_types[] = {
    {"FloatStorage", 4, StoredType::f32},     {"DoubleStorage", 8, StoredType::f64},
    {"HalfStorage", 2, StoredType::f16},      {"BFloat16Storage", 2, StoredType::bf16},
    {"LongStorage", 8, StoredType::i64},      {"IntStorage", 4, StoredType::i32},
    {"ByteStorage", 1, StoredType::u8},       {"BoolStorage", 1, StoredType::boolean},
    {"ShortStorage", 2, std::nullopt},        {"CharStorage", 1, std::nullopt},
    {"ComplexFloatStorage", 8, std::nullopt}, {"ComplexDoubleStorage", 16, std::nullopt},
    {"QInt8Storage", 1, std::nullopt},        {"QUInt8Storage", 1, std::nullopt},
    {"QInt32Storage", 4, std::nullopt},       {"UntypedStorage", 1, std::nullopt}};

const StorageType* storage_type(const std::string& global) {
    const std::size_t space = global.find(' ');
    if (!global.starts_with("torch")) return nullptr;
    for (const StorageType& s : storage_types)
        if (global.compare(space + 1, std::string::npos, s.name) == 0) return &s;
    return nullptr;
}

// A dictionary of tensors that was found.
struct Found {
    std::vector<std::string> keys;
    bool indexed;
    std::vector<std::pair<std::string, std::size_t>> tensors;  // name, value
    std::vector<std::pair<std::string, std::size_t>> objects;  // what else has a name
};

class Search {
  public:
    explicit Search(const Pickle& pickle) : pickle_(pickle) {
        places_.push_back({pickle.root(), {}, true, 0});
        for (std::size_t i = 0; i < places_.size() && i < most_places; ++i) visit(Place(places_[i]));
    }
    std::vector<Found> found;

  private:
    struct Place {
        std::size_t value;
        std::vector<std::string> keys;
        bool indexed;
        int depth;
    };

    void visit(const Place& place) {
        const PickleValue& value = pickle_[place.value];
        if (value.kind == Kind::dictionary || value.kind == Kind::object) look_into_entries(place, value);
        if (value.kind == Kind::object && value.of != PickleValue::nothing)
            look_into_attributes(place, value.of);
        if (value.kind == Kind::object && value.op_from != PickleValue::nothing)
            for (const std::size_t argument : pickle_[value.op_from].items) add(place, argument, "", false);
        if (value.kind == Kind::tuple || value.kind == Kind::list)
            for (std::size_t i = 0; i < std::min<std::size_t>(value.items.size(), 16); ++i)
                add(place, value.items[i], std::to_string(i), false);
    }

    void add(const Place& from, std::size_t value, const std::string& key, bool indexed) {
        const Kind kind = pickle_[value].kind;
        if (from.depth == deepest || places_.size() >= most_places ||
            (kind != Kind::dictionary && kind != Kind::object && kind != Kind::tuple && kind != Kind::list))
            return;
        places_.push_back({value, from.keys, from.indexed && indexed, from.depth + 1});
        if (!key.empty()) places_.back().keys.push_back(key);
    }

    void look_into_entries(const Place& place, const PickleValue& dictionary) {
        Found here{place.keys, place.indexed, {}, {}};
        for (std::size_t i = 0; i + 1 < dictionary.items.size(); i += 2) {
            const PickleValue& key = pickle_.item(dictionary, i);
            if (key.kind != Kind::text) continue;
            const PickleValue& entry = pickle_.item(dictionary, i + 1);
            if (entry.kind == Kind::tensor) here.tensors.emplace_back(key.string, dictionary.items[i + 1]);
            if (entry.kind == Kind::object) here.objects.emplace_back(key.string, dictionary.items[i + 1]);
            add(place, dictionary.items[i + 1], key.string, true);
        }
        if (!here.tensors.empty() || !here.objects.empty()) found.push_back(std::move(here));
    }

    const PickleValue* entry(const PickleValue& dictionary, const char* name) const {
        if (dictionary.kind == Kind::dictionary)
            for (std::size_t i = 0; i + 1 < dictionary.items.size(); i += 2)
                if (pickle_.item(dictionary, i).string == name) return &pickle_.item(dictionary, i + 1);
        return nullptr;
    }

    // A dictionary, or a pair of it and the slots.
    const PickleValue& attributes(std::size_t state) const {
        const PickleValue& value = pickle_[state];
        return value.kind == Kind::tuple && !value.items.empty() ? pickle_.item(value, 0) : value;
    }

    void look_into_attributes(const Place& place, std::size_t state) {
        const PickleValue& all = attributes(state);
        if (all.kind != Kind::dictionary) return;
        if (entry(all, "_parameters") && entry(all, "_modules")) {
            Found module{place.keys, false, {}, {}};
            modules_ = 0;
            flatten(all, "", 0, module.tensors);
            if (!module.tensors.empty()) found.push_back(std::move(module));
            return;
        }
        for (std::size_t i = 0; i + 1 < all.items.size(); i += 2)
            if (pickle_.item(all, i).kind == Kind::text)
                add(place, all.items[i + 1], pickle_.item(all, i).string, false);
    }

    // What state_dict() of a module gives: its parameters and buffers, then those of the modules in
    // it.
    void flatten(const PickleValue& module, const std::string& prefix, int depth,
                 std::vector<std::pair<std::string, std::size_t>>& tensors) {
        if (depth > deepest_module || ++modules_ > 5'000) not_tensors("its module is nested too deeply");
        for (const char* part : {"_parameters", "_buffers"}) {
            const PickleValue* named = entry(module, part);
            if (!named || named->kind != Kind::dictionary) continue;
            for (std::size_t i = 0; i + 1 < named->items.size(); i += 2)
                if (pickle_.item(*named, i).kind == Kind::text &&
                    pickle_.item(*named, i + 1).kind == Kind::tensor)
                    tensors.emplace_back(prefix + pickle_.item(*named, i).string, named->items[i + 1]);
        }
        const PickleValue& modules = *entry(module, "_modules");
        if (modules.kind != Kind::dictionary) return;
        for (std::size_t i = 0; i + 1 < modules.items.size(); i += 2) {
            const PickleValue& name = pickle_.item(modules, i);
            const PickleValue& inner = pickle_.item(modules, i + 1);
            if (name.kind != Kind::text || inner.kind != Kind::object || inner.of == PickleValue::nothing)
                continue;
            const PickleValue& all = attributes(inner.of);
            if (entry(all, "_modules")) flatten(all, prefix + name.string + ".", depth + 1, tensors);
        }
    }

    const Pickle& pickle_;
    std::vector<Place> places_;
    int modules_ = 0;
};

// Within the storage. A view that repeats elements could claim any size.
void check_view(const PickledTensor& tensor) {
    const auto wrong = [&](const char* what) { not_tensors("its tensor '" + tensor.name + "' " + what); };
    std::uint64_t elements = 1, last = tensor.offset;
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
    if (outside || last >= tensor.storage_elements) wrong("reaches beyond its storage");
    if (elements > std::max(tensor.storage_elements, most_repeated)) wrong("repeats elements of its storage");
}

std::vector<PickledTensor> tensors_of(const Pickle& pickle, const Found& found) {
    std::vector<PickledTensor> tensors;
    std::set<std::string> names;
    for (const auto& [name, value] : found.tensors) {
        if (!names.insert(name).second) not_tensors("it has the name '" + name + "' twice");
        const Pickle::View& view = pickle.view(pickle[value]);
        const PickleValue& storage = pickle[view.storage];
        const StorageType* type = storage_type(pickle[storage.of].string);
        if (!type) not_tensors("the storage of its tensor '" + name + "' is of no type");
        if (!type->type) continue;
        tensors.push_back({name, *type->type, storage.string, static_cast<std::uint64_t>(storage.number),
                           static_cast<std::uint64_t>(view.offset), view.shape, view.strides});
        check_view(tensors.back());
    }
    return tensors;
}

std::vector<std::string> names_of(const std::vector<std::pair<std::string, std::size_t>>& entries) {
    std::vector<std::string> names;
    for (const auto& entry : entries) names.push_back(entry.first);
    return names;
}

// Where each tensor's elements lie.
std::vector<std::string> contents_of(const Pickle& pickle, const Found& found) {
    std::vector<std::string> contents;
    for (const auto& [name, value] : found.tensors) {
        const Pickle::View& view = pickle.view(pickle[value]);
        contents.push_back(pickle[view.storage].string + "+" + std::to_string(view.offset));
    }
    return contents;
}

std::string python_name(std::string global) {
    std::replace(global.begin(), global.end(), ' ', '.');
    return global;
}

// Weights of another kind than tensors, arrays of numpy for example.
void refuse_objects(const Pickle& pickle, const std::vector<Found>& found,
                    const std::vector<NetworkMarks>& marks) {
    for (const Found& place : found)
        if (choose_weights({{place.keys, names_of(place.objects), {}}}, false, marks).fits)
            throw OtherWeights("its weights are no plain tensors but made by '" +
                               python_name(pickle[place.objects.front().second].string) + "'");
}

}  // namespace

std::size_t element_size(const std::string& type) {
    const StorageType* found = storage_type(type);
    return found ? found->bytes : 0;
}

StateDict find_state_dict(const Pickle& pickle, bool ema, const std::vector<NetworkMarks>& marks) {
    const Search search(pickle);
    std::vector<NamedTensors> dictionaries;
    std::vector<const Found*> places;
    for (const Found& found : search.found)
        if (!found.tensors.empty()) {
            dictionaries.push_back({found.keys, names_of(found.tensors), contents_of(pickle, found)});
            places.push_back(&found);
        }
    StateDict result{{}, choose_weights(dictionaries, ema, marks), {}, true};
    if (!result.chosen.fits) refuse_objects(pickle, search.found, marks);
    if (places.empty()) not_tensors("it holds no dictionary of tensors");
    const Found& place = *places[result.chosen.dictionary];
    result.tensors = tensors_of(pickle, place);
    result.keys = place.keys;
    result.indexed = place.indexed;
    return result;
}

}  // namespace onecycle
