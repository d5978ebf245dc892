#include "ops/cuda/cudnn.h"

#include <cudnn_backend.h>
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "device/cuda/library.h"
#include "onecycle/error.h"

namespace onecycle::cudnn {

struct Functions {
    SharedLibrary library{"libcudnn.so.9", "cuDNN 9"};
#define ONECYCLE_FUNCTION(name) decltype(&::name) name = library.function<decltype(::name)>(#name)
    ONECYCLE_FUNCTION(cudnnGetVersion);
    ONECYCLE_FUNCTION(cudnnGetErrorString);
    ONECYCLE_FUNCTION(cudnnGetLastErrorString);
    ONECYCLE_FUNCTION(cudnnCreate);
    ONECYCLE_FUNCTION(cudnnDestroy);
    ONECYCLE_FUNCTION(cudnnSetStream);
    ONECYCLE_FUNCTION(cudnnBackendCreateDescriptor);
    ONECYCLE_FUNCTION(cudnnBackendDestroyDescriptor);
    ONECYCLE_FUNCTION(cudnnBackendSetAttribute);
    ONECYCLE_FUNCTION(cudnnBackendGetAttribute);
    ONECYCLE_FUNCTION(cudnnBackendFinalize);
    ONECYCLE_FUNCTION(cudnnBackendExecute);
#undef ONECYCLE_FUNCTION
};

namespace {

void check(const Functions& f, cudnnStatus_t status, const char* what) {
    if (status == CUDNN_STATUS_SUCCESS) return;
    char details[512] = "";
    f.cudnnGetLastErrorString(details, sizeof details);
    throw Error(ErrorKind::device, "cuDNN failed", what,
                std::string(f.cudnnGetErrorString(status)) + (*details ? std::string(", ") + details : ""));
}

// The type tag that belongs to an element of an attribute.
template <typename T>
constexpr cudnnBackendAttributeType_t tag();
template <>
constexpr cudnnBackendAttributeType_t tag<std::int64_t>() {
    return CUDNN_TYPE_INT64;
}
template <>
constexpr cudnnBackendAttributeType_t tag<std::int32_t>() {
    return CUDNN_TYPE_INT32;
}
template <>
constexpr cudnnBackendAttributeType_t tag<char>() {
    return CUDNN_TYPE_CHAR;
}
template <>
constexpr cudnnBackendAttributeType_t tag<float>() {
    return CUDNN_TYPE_FLOAT;
}
template <>
constexpr cudnnBackendAttributeType_t tag<void*>() {
    return CUDNN_TYPE_VOID_PTR;
}
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnHandle_t>() {
    return CUDNN_TYPE_HANDLE;
}
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnDataType_t>() {
    return CUDNN_TYPE_DATA_TYPE;
}
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnConvolutionMode_t>() {
    return CUDNN_TYPE_CONVOLUTION_MODE;
}
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnBackendHeurMode_t>() {
    return CUDNN_TYPE_HEUR_MODE;
}
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnBackendKnobType_t>() {
    return CUDNN_TYPE_KNOB_TYPE;
}
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnBackendNumericalNote_t>() {
    return CUDNN_TYPE_NUMERICAL_NOTE;
}
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnBackendBehaviorNote_t>() {
    return CUDNN_TYPE_BEHAVIOR_NOTE;
}

}  // namespace

// A backend descriptor: made, given attributes, finalised, then only read.
class Descriptor {
  public:
    Descriptor(const Functions& f, cudnnBackendDescriptorType_t type) : f_(f) {
        check(f, f.cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor");
    }
    ~Descriptor() { f_.cudnnBackendDestroyDescriptor(raw_); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;

    cudnnBackendDescriptor_t raw() const { return raw_; }

    template <typename T>
    void set(cudnnBackendAttributeName_t name, const std::vector<T>& values) {
        set(name, tag<T>(), static_cast<std::int64_t>(values.size()), values.data());
    }
    template <typename T>
    void set(cudnnBackendAttributeName_t name, const T& value) {
        set(name, tag<T>(), 1, &value);
    }
    void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
        const cudnnBackendDescriptor_t raw = value.raw();
        set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
    }
    void set(cudnnBackendAttributeName_t name, const std::vector<std::shared_ptr<const Descriptor>>& values) {
        std::vector<cudnnBackendDescriptor_t> raw;
        for (const auto& value : values) raw.push_back(value->raw());
        set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(raw.size()), raw.data());
    }
    void finalize(const char* what) { check(f_, f_.cudnnBackendFinalize(raw_), what); }

    template <typename T>
    std::vector<T> get(cudnnBackendAttributeName_t name, std::int64_t most) const {
        std::vector<T> values(static_cast<std::size_t>(most));
        std::int64_t count = 0;
        check(f_, f_.cudnnBackendGetAttribute(raw_, name, tag<T>(), most, &count, values.data()),
              "cudnnBackendGetAttribute");
        values.resize(static_cast<std::size_t>(std::min(count, most)));
        return values;
    }
    // Descriptors are copied into ones of the caller.
    std::vector<std::shared_ptr<const Descriptor>> get_descriptors(cudnnBackendAttributeName_t name,
                                                                   cudnnBackendDescriptorType_t type,
                                                                   std::int64_t most) const {
        std::vector<std::shared_ptr<const Descriptor>> values;
        std::vector<cudnnBackendDescriptor_t> raw;
        for (std::int64_t i = 0; i < most; ++i) {
            values.push_back(std::make_shared<const Descriptor>(f_, type));
            raw.push_back(values.back()->raw());
        }
        std::int64_t count = 0;
        check(
            f_,
            f_.cudnnBackendGetAttribute(raw_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &count, raw.data()),
            "cudnnBackendGetAttribute");
        values.resize(static_cast<std::size_t>(std::min(count, most)));
        return values;
    }
    std::int64_t count(cudnnBackendAttributeName_t name) const {
        std::int64_t count = 0;
        check(f_, f_.cudnnBackendGetAttribute(raw_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
              "cudnnBackendGetAttribute");
        return count;
    }

  private:
    void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
             const void* values) {
        check(f_, f_.cudnnBackendSetAttribute(raw_, name, type, count, values), "cudnnBackendSetAttribute");
    }

    const Functions& f_;
    cudnnBackendDescriptor_t raw_ = nullptr;
};

namespace {

using Part = std::shared_ptr<const Descriptor>;

constexpr std::int64_t id_x = 'x', id_w = 'w', id_y = 'y';

cudnnDataType_t data_type(DType type) {
    return type == DType::bf16  ? CUDNN_DATA_BFLOAT16
           : type == DType::f16 ? CUDNN_DATA_HALF
                                : CUDNN_DATA_FLOAT;
}

// [n,c,h,w] with channels last.
Part make_tensor(const Functions& f, DType type, std::int64_t id, std::int64_t n, std::int64_t c,
                 std::int64_t h, std::int64_t w) {
    auto t = std::make_shared<Descriptor>(f, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    t->set(CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(type));
    t->set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector<std::int64_t>{n, c, h, w});
    t->set(CUDNN_ATTR_TENSOR_STRIDES, std::vector<std::int64_t>{h * w * c, 1, w * c, c});
    t->set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
    t->set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16});
    t->finalize("tensor");
    return t;
}

Part make_convolution(const Functions& f, const ConvolutionProblem& p) {
    auto c = std::make_shared<Descriptor>(f, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const std::vector<std::int64_t> paddings(2, p.padding), strides(2, p.stride), ones(2, 1);
    c->set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    c->set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
    c->set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
    c->set(CUDNN_ATTR_CONVOLUTION_DILATIONS, ones);
    c->set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, strides);
    c->set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, paddings);
    c->set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, paddings);
    c->finalize("convolution");
    return c;
}

// The names that one pass has for what all passes have.
struct OperationNames {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t convolution, x, w, y, alpha, beta;
};

OperationNames names_of(Pass pass) {
    switch (pass) {
        case Pass::forward:
            return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
        case Pass::backward_data:
            return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
        case Pass::backward_weights:
            break;
    }
    return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

Candidate describe(const Descriptor& configuration) {
    const Part engine =
        configuration.get_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1).at(0);
    Candidate c;
    c.choice.engine = engine->get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 1).at(0);
    const auto knobs =
        configuration.get_descriptors(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
                                      configuration.count(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES));
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

Finder::Finder(const Target& target, const ConvolutionProblem& p) : target_(target), pass_(p.pass) {
    const Functions& f = target.functions();
    parts_ = {make_tensor(f, p.type, id_x, p.n, p.c, p.h, p.w),
              make_tensor(f, p.type, id_w, p.o, p.c, p.kernel, p.kernel),
              make_tensor(f, p.type, id_y, p.n, p.o, p.out_h(), p.out_w()), make_convolution(f, p)};
    const OperationNames names = names_of(p.pass);
    auto operation = std::make_shared<Descriptor>(f, names.type);
    operation->set(names.x, *parts_[0]);
    operation->set(names.w, *parts_[1]);
    operation->set(names.y, *parts_[2]);
    operation->set(names.convolution, *parts_[3]);
    operation->set(names.alpha, 1.0f);
    operation->set(names.beta, p.accumulate ? 1.0f : 0.0f);
    operation->finalize("convolution operation");
    parts_.push_back(operation);
    auto graph = std::make_shared<Descriptor>(f, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph->set(CUDNN_ATTR_OPERATIONGRAPH_OPS, *operation);
    if (target.handle())
        graph->set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, static_cast<cudnnHandle_t>(target.handle()));
    graph->finalize("operation graph");
    parts_.push_back(graph);
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
        Plan plan(target_, pass_);
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

void Plan::run(const void* first, const void* second, void* out, void* workspace, void* stream) const {
    const Functions& f = target_.functions();
    const auto handle = static_cast<cudnnHandle_t>(target_.handle());
    check(f, f.cudnnSetStream(handle, static_cast<cudaStream_t>(stream)), "cudnnSetStream");
    std::vector<std::int64_t> ids = {id_x, id_w, id_y};
    if (pass_ == Pass::backward_data) ids = {id_y, id_w, id_x};
    if (pass_ == Pass::backward_weights) ids = {id_y, id_x, id_w};
    Descriptor pack(f, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
             std::vector<void*>{const_cast<void*>(first), const_cast<void*>(second), out});
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace);
    pack.finalize("variant pack");
    check(f, f.cudnnBackendExecute(handle, parts_.back()->raw(), pack.raw()), "cudnnBackendExecute");
}

}  // namespace onecycle::cudnn
