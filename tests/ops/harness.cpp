#include "ops/harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<bool> counting{false};
std::atomic<std::size_t> allocations{0}, allocated_bytes{0};

}  // namespace

// Every allocation of the process comes by here, those of the libraries too.
void* operator new(std::size_t bytes) {
    if (counting) {
        ++allocations;
        allocated_bytes += bytes;
    }
    if (void* p = std::malloc(bytes ? bytes : 1)) return p;
    throw std::bad_alloc();
}
void operator delete(void* p) noexcept {
    std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
    std::free(p);
}

namespace onecycle::testing {

namespace {

constexpr std::byte redzone_byte{0xA5};

bool is_result(const TensorDesc& desc) {
    return desc.rank == 1 && desc.type == DType::u8 && desc[0] == sizeof(BatchResult);
}

template <typename F>
void for_each(const TensorDesc& d, const F& f) {
    std::int64_t n[4];
    for (int i = 0; i < 4; ++i) n[i] = i < d.rank ? d[i] : 1;
    std::size_t plain = 0;
    for (std::int64_t a = 0; a < n[0]; ++a)
        for (std::int64_t b = 0; b < n[1]; ++b)
            for (std::int64_t c = 0; c < n[2]; ++c)
                for (std::int64_t e = 0; e < n[3]; ++e) f(plain++, offset_of(d, a, b, c, e));
}

}  // namespace

WatchedBuffer::WatchedBuffer(std::size_t bytes)
    : bytes_(bytes), memory_(bytes + 2 * redzone + 64, redzone_byte) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data()) + redzone;
    start_ = redzone + (64 - address % 64) % 64;
    std::memset(data(), 0xFF, bytes);  // floats of these bits are NaN
}

bool WatchedBuffer::intact() const {
    const auto untouched = [](std::byte b) { return b == redzone_byte; };
    return std::all_of(memory_.begin(), memory_.begin() + static_cast<std::ptrdiff_t>(start_), untouched) &&
           std::all_of(memory_.begin() + static_cast<std::ptrdiff_t>(start_ + bytes_), memory_.end(),
                       untouched);
}

void store_values(const TensorDesc& desc, const Values& values, std::byte* to) {
    for_each(desc, [&](std::size_t plain, std::int64_t at) {
        const double v = values.at(plain);
        if (desc.type == DType::f32) reinterpret_cast<float*>(to)[at] = static_cast<float>(v);
        if (desc.type == DType::i32) reinterpret_cast<std::int32_t*>(to)[at] = static_cast<std::int32_t>(v);
        if (desc.type == DType::u8) reinterpret_cast<std::uint8_t*>(to)[at] = static_cast<std::uint8_t>(v);
    });
}

Values load_values(const TensorDesc& desc, const std::byte* from) {
    if (is_result(desc)) {
        BatchResult r;
        std::memcpy(&r, from, sizeof(r));
        return {r.loss,
                r.loss_sum,
                r.weight,
                static_cast<double>(r.count),
                static_cast<double>(r.correct),
                static_cast<double>(r.correct5)};
    }
    Values values(static_cast<std::size_t>(desc.elements()));
    for_each(desc, [&](std::size_t plain, std::int64_t at) {
        if (desc.type == DType::f32)
            values[plain] = static_cast<double>(reinterpret_cast<const float*>(from)[at]);
        if (desc.type == DType::i32) values[plain] = reinterpret_cast<const std::int32_t*>(from)[at];
        if (desc.type == DType::u8) values[plain] = reinterpret_cast<const std::uint8_t*>(from)[at];
    });
    return values;
}

Outcome run_op(const OpDesc& desc, const std::vector<Values>& inputs, int threads) {
    const std::unique_ptr<Backend> backend = make_cpu_backend(threads);
    const std::unique_ptr<Device> device = make_cpu_device(0);
    Stream stream(*device);
    MadeOp made = backend->make(desc);

    std::vector<WatchedBuffer> buffers;
    std::vector<void*> in, out;
    for (std::size_t i = 0; i < made.desc.inputs.size(); ++i) {
        const TensorDesc& t = made.desc.inputs[i];
        buffers.emplace_back(t.bytes());
        store_values(t, inputs.at(i), buffers.back().data());
        in.push_back(buffers.back().data());
    }
    for (const TensorDesc& t : made.desc.outputs) {
        buffers.emplace_back(t.bytes());
        out.push_back(buffers.back().data());
    }
    WatchedBuffer& workspace = buffers.emplace_back(made.workspace);

    Outcome outcome;
    made.op->run(in.data(), out.data(), workspace.data(), stream);
    for (std::size_t i = 0; i < out.size(); ++i)
        outcome.outputs.push_back(load_values(made.desc.outputs[i], static_cast<std::byte*>(out[i])));

    allocations = allocated_bytes = 0;
    counting = true;
    made.op->run(in.data(), out.data(), workspace.data(), stream);
    counting = false;
    outcome.allocations = allocations;
    outcome.allocated_bytes = allocated_bytes;
    outcome.repeats = true;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const Values again = load_values(made.desc.outputs[i], static_cast<std::byte*>(out[i]));
        outcome.repeats &=
            std::memcmp(again.data(), outcome.outputs[i].data(), again.size() * sizeof(double)) == 0;
    }
    outcome.redzones_intact =
        std::all_of(buffers.begin(), buffers.end(), [](const WatchedBuffer& b) { return b.intact(); });
    outcome.desc = made.desc;
    outcome.implementation = made.implementation;
    outcome.reorders = made.reorders;
    return outcome;
}

}  // namespace onecycle::testing
