#include "train/initial_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/echoed.h"
#include "onecycle/error.h"
#include "train/class_names.h"
#include "train/model_info.h"
#include "train/model_tensors.h"

namespace onecycle {

namespace {

// Makes the head that was read one of the kind `head` for `classes`: as it is, with its last rows
// in their order, or none, to be made new. Returns what was done, to be said after the file's name.
std::string place_head(std::map<std::string, HostTensor>& weights, const ModelInfo& info, Head head,
                       const std::vector<std::string>& classes, const LogSink& log) {
    const Network network = network_of(info);
    const auto replaced = [&](const std::string& why) {
        for (const std::string& name : head_names(network)) weights.erase(name);
        return fmt::format("; its {} head of {} classes was replaced by a new {} one of {}{}",
                           to_string(info.head), info.class_count, to_string(head), classes.size(), why);
    };
    if (info.backbone())
        return fmt::format("; it has no head: a new {} one of {} classes was made", to_string(head),
                           classes.size());
    if (info.head != head) return replaced("");
    if (!info.named) {
        if (static_cast<std::size_t>(info.class_count) != classes.size()) return replaced("");
        say_assumed_order(info, classes, log);
        return "";
    }
    if (info.classes == classes) return "";
    const ClassDifference difference = compare_classes(info.classes, classes);
    if (!difference.same()) return replaced(": " + difference.text("the folder"));
    for (const int p : network.layers().back().parameters) {
        std::vector<float>& values =
            weights.at(network.parameters()[static_cast<std::size_t>(p)].name).values;
        const std::vector<float> stored = values;
        const std::size_t row = stored.size() / classes.size();
        for (std::size_t c = 0; c < classes.size(); ++c)
            std::copy_n(&stored[row * static_cast<std::size_t>(difference.matched[c])], row,
                        &values[row * c]);
    }
    return "; its classes stand in another order: the head's rows were matched by name";
}

}  // namespace

void load_initial_weights(State& state, const TrainOptions& options, const Architecture& architecture,
                          const std::vector<std::string>& classes, const LogSink& log) {
    const auto opened = open_model(options.init, options.init_ema, &architecture);
    const TensorFile& file = *opened;
    file.verify();
    ModelInfo info = describe_model(file, &architecture);
    if (!options.classes.empty()) info = with_class_names(std::move(info), options.classes);
    if (info.arch != options.arch || info.stem != options.stem)
        throw Error(ErrorKind::model, "cannot use model", file.path(),
                    fmt::format("it is a {} with the {} stem; asked for is {} with {}", info.arch,
                                to_string(info.stem), options.arch, to_string(options.stem)),
                    fmt::format("use --arch {} --stem {}", info.arch, to_string(info.stem)));
    std::map<std::string, HostTensor> weights;
    for (const auto& [name, shape] : shapes_of(info)) weights[name] = read_tensor(file, name, shape);
    const std::string head = place_head(weights, info, options.head, classes, log);
    state.set_weights(weights);
    if (!log) return;
    log(LogLevel::info, fmt::format("weights from {}{}", echoed(info.path), head));
    if (!info.weights.taken.empty()) log(LogLevel::info, "of what it holds " + taken_text(info));
}

}  // namespace onecycle
