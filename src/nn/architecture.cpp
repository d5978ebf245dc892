#include "onecycle/network.h"

#include <algorithm>
#include <numeric>

#include "onecycle/error.h"

namespace onecycle {

namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::usage, "cannot build the network", what, why, fix);
}

// How many characters must be changed, added or left out to make one of the other (Levenshtein).
std::size_t distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t before = row[0]++;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t changed = before + (a[i] == b[j] ? 0 : 1);
            before = row[j + 1];
            row[j + 1] = std::min({changed, row[j] + 1, before + 1});
        }
    }
    return row.back();
}

}  // namespace

int Architecture::smallest(Stem stem) const {
    if (stem == Stem::imagenet) return smallest_size;
    if (!smallest_size_small_stem)
        throw Error(ErrorKind::usage, "option not usable", "--stem small", name + " has one stem only",
                    "leave --stem out");
    return *smallest_size_small_stem;
}

void Architecture::require(Head head) const {
    if (head == Head::fastai && !fastai_head)
        throw Error(ErrorKind::usage, "option not usable", "--head fastai", name + " has a head of its own",
                    "use --head linear");
}

Network Architecture::make(const NetworkOptions& options) const {
    if (!build) refuse(name, "it has no function that builds it", "give Architecture::build one");
    if (options.classes < 1)
        refuse("--classes " + std::to_string(options.classes), "it needs an output", "give 1 or more");
    require(options.head);
    if (const int least = smallest(options.stem); options.size < least)
        refuse("--size " + std::to_string(options.size),
               name + " needs " + std::to_string(least) + " pixels or more", "use a larger --size");
    Network network = build(options);
    const std::vector<Layer>& layers = network.layers();
    if (layers.empty() || layers.front().kind != LayerKind::input || layers.front().shape[0] != 3 ||
        layers.front().shape[1] != options.size || layers.front().shape[2] != options.size)
        refuse(name, "its first layer is no input of 3 channels and the size that was asked for",
               "begin with input(3, options.size, options.size)");
    if (layers.back().kind != LayerKind::linear || network.classes() != options.classes)
        refuse(name, "its last layer is not linear with an output a class", "end with linear()");
    return network;
}

std::string architecture_names() {
    const std::vector<Architecture>& all = architectures();
    std::string text;
    for (std::size_t i = 0; i < all.size(); ++i)
        text += (i == 0 ? "" : i + 1 == all.size() ? " or " : ", ") + all[i].name;
    return text;
}

const Architecture& architecture(const std::string& name) {
    const std::vector<Architecture>& all = architectures();
    const auto found = std::ranges::find(all, name, &Architecture::name);
    if (found != all.end()) return *found;
    const auto nearest =
        std::ranges::min_element(all, {}, [&](const Architecture& a) { return distance(name, a.name); });
    const bool near = distance(name, nearest->name) <= 3;
    throw Error(ErrorKind::usage, "option not usable", "--arch " + name, "there is no such choice",
                "use " + architecture_names() + (near ? "; the nearest is " + nearest->name : ""));
}

}  // namespace onecycle
