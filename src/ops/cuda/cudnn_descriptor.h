// cuDNN's functions, and its backend descriptors that destroy themselves. Behind cudnn.h and
// cudnn_graph.h; nobody else includes it.
#pragma once

#include <cudnn_backend.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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

inline void check(const Functions& f, cudnnStatus_t status, const char* what) {
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
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnPointwiseMode_t>() {
    return CUDNN_TYPE_POINTWISE_MODE;
}
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnGenStatsMode_t>() {
    return CUDNN_TYPE_GENSTATS_MODE;
}
template <>
constexpr cudnnBackendAttributeType_t tag<cudnnReduceTensorOp_t>() {
    return CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;
}
template <>
constexpr cudnnBackendAttributeType_t tag<bool>() {
    return CUDNN_TYPE_BOOLEAN;
}

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

using Part = std::shared_ptr<const Descriptor>;

}  // namespace onecycle::cudnn
