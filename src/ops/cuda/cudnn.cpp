#include "ops/cuda/cudnn.h"

#include <fmt/format.h>

#include <sstream>

#include "ops/cuda/cudnn_descriptor.h"
#include "ops/cuda/cudnn_graph.h"

namespace onecycle::cudnn {

namespace {

Candidate describe(const Descriptor& configuration) {
    const Part engine =
        configuration.get_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1).at(0);
    Candidate c;
    c.choice.engine = engine->get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 1).at(0);
    // Asked how many there are, without room for them, cuDNN answers none.
    const auto knobs = configuration.get_descriptors(
        CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS);
    for (const Part& knob : knobs)
        c.choice.knobs.emplace_back(
            knob->get<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, 1).at(0),
            knob->get<std::int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, 1).at(0));
    std::sort(c.choice.knobs.begin(), c.choice.knobs.end());
    for (const auto note : engine->get<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                                    CUDNN_NUMERICAL_NOTE_TYPE_COUNT)) {
        if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) c.deterministic = false;
        if (note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION) c.rounds_sums = true;
        if (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)
            c.tensor_cores = true;
    }
    for (const auto note : engine->get<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                                                   CUDNN_BEHAVIOR_NOTE_TYPE_COUNT))
        if (note == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) c.compiled_at_run_time = true;
    return c;
}

}  // namespace

Library::Library() : functions_(std::make_shared<const Functions>()) {}

std::string Library::version() const {
    const std::size_t v = functions_->cudnnGetVersion();
    return fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

Target::Target(const Library& library) : functions_(library.functions()) {
    cudnnHandle_t handle = nullptr;
    check(*functions_, functions_->cudnnCreate(&handle), "cudnnCreate");
    handle_ = std::shared_ptr<void>(
        handle, [f = functions_](void* h) { f->cudnnDestroy(static_cast<cudnnHandle_t>(h)); });
}

Target::Target(const Library& library, const std::string& device_text) : functions_(library.functions()) {
    const auto device = std::make_shared<Descriptor>(*functions_, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    device->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                std::vector<char>(device_text.begin(), device_text.end()));
    device->finalize("the device's text");
    device_ = device;
}

std::string Target::device_text() const {
    Descriptor device(*functions_, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    device.set(CUDNN_ATTR_DEVICEPROP_HANDLE, static_cast<cudnnHandle_t>(handle()));
    device.finalize("the device");
    const std::vector<char> text = device.get<char>(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, 1 << 16);
    return std::string(text.begin(), std::find(text.begin(), text.end(), '\0'));
}

std::string to_string(const EngineChoice& choice) {
    std::string text = fmt::format("engine {}:", choice.engine);
    for (const auto& [type, value] : choice.knobs) text += fmt::format(" {}={}", type, value);
    return text;
}

std::optional<EngineChoice> engine_choice(const std::string& text) {
    std::istringstream in(text);
    std::string word;
    EngineChoice choice;
    char sign = 0;
    if (!(in >> word >> choice.engine >> sign) || word != "engine" || sign != ':') return std::nullopt;
    for (std::int64_t type, value; in >> type;) {
        if (!(in >> sign >> value) || sign != '=') return std::nullopt;
        choice.knobs.emplace_back(type, value);
    }
    if (!in.eof()) return std::nullopt;
    return choice;
}

bool allowed(const Candidate& candidate, DType type, bool deterministic, bool tf32) {
    if (candidate.rounds_sums || (deterministic && !candidate.deterministic)) return false;
    return type != DType::f32 || tf32 || !candidate.tensor_cores;
}

Finder::Finder(const Target& target, const ConvolutionProblem& problem)
    : Finder(target, convolution_graph(target, problem)) {}

Finder::Finder(const Target& target, const Graph& graph) : target_(target), ids_(graph.ids()) {
    const Functions& f = target.functions();
    parts_ = graph.parts();
    auto operations = std::make_shared<Descriptor>(f, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    operations->set(CUDNN_ATTR_OPERATIONGRAPH_OPS, graph.operations());
    if (target.handle())
        operations->set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, static_cast<cudnnHandle_t>(target.handle()));
    operations->finalize("operation graph");
    parts_.push_back(operations);
}

std::vector<Candidate> Finder::candidates() const {
    std::vector<Candidate> found;
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
        try {
            Descriptor heuristic(target_.functions(), CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
            heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, *parts_.back());
            heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
            if (target_.device()) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target_.device());
            heuristic.finalize("heuristic");
            const auto configurations =
                heuristic.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                                          heuristic.count(CUDNN_ATTR_ENGINEHEUR_RESULTS));
            for (const Part& configuration : configurations) {
                const Candidate candidate = describe(*configuration);
                if (std::none_of(found.begin(), found.end(),
                                 [&](const Candidate& c) { return c.choice == candidate.choice; }))
                    found.push_back(candidate);
            }
        } catch (const Error&) {  // a mode without an answer: the other one may have some
        }
    }
    return found;
}

std::optional<Plan> Finder::plan(const EngineChoice& choice) const {
    const Functions& f = target_.functions();
    try {
        Plan plan(target_, ids_);
        plan.parts_ = parts_;
        auto engine = std::make_shared<Descriptor>(f, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
        engine->set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, *parts_.back());
        engine->set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice.engine);
        if (target_.device()) engine->set(CUDNN_ATTR_ENGINE_DEVICEPROP, *target_.device());
        engine->finalize("engine");
        plan.parts_.push_back(engine);
        std::vector<Part> knobs;
        for (const auto& [type, value] : choice.knobs) {
            auto knob = std::make_shared<Descriptor>(f, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
            knob->set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, static_cast<cudnnBackendKnobType_t>(type));
            knob->set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value);
            knob->finalize("knob");
            knobs.push_back(knob);
        }
        auto configuration = std::make_shared<Descriptor>(f, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        configuration->set(CUDNN_ATTR_ENGINECFG_ENGINE, *engine);
        if (!knobs.empty()) configuration->set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, knobs);
        configuration->finalize("engine configuration");
        plan.parts_.insert(plan.parts_.end(), knobs.begin(), knobs.end());
        plan.parts_.push_back(configuration);
        auto made = std::make_shared<Descriptor>(f, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        made->set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, *configuration);
        if (target_.handle())
            made->set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, static_cast<cudnnHandle_t>(target_.handle()));
        else
            made->set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target_.device());
        made->finalize("plan");
        plan.parts_.push_back(made);
        plan.workspace_ = static_cast<std::size_t>(
            made->get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, 1).at(0));
        return plan;
    } catch (const Error&) {
        return std::nullopt;
    }
}

void Plan::run(const std::vector<void*>& tensors, void* workspace, void* stream) const {
    const Functions& f = target_.functions();
    const auto handle = static_cast<cudnnHandle_t>(target_.handle());
    check(f, f.cudnnSetStream(handle, static_cast<cudaStream_t>(stream)), "cudnnSetStream");
    Descriptor pack(f, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids_);
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, tensors);
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace);
    pack.finalize("variant pack");
    check(f, f.cudnnBackendExecute(handle, parts_.back()->raw(), pack.raw()), "cudnnBackendExecute");
}

}  // namespace onecycle::cudnn
