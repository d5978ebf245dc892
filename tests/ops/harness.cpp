#include "ops/harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "count_allocations.h"
#include "rules/half.h"

namespace onecycle::testing {

namespace {

constexpr std::byte redzone_byte{0xA5};
constexpr std::size_t redzone = 256;

// Device memory, 64-byte aligned, between redzones.
class WatchedBuffer {
  public:
    WatchedBuffer(Device& device, std::size_t bytes)
        : device_(&device), bytes_(bytes), memory_(device, bytes + 2 * redzone) {
        std::vector<std::byte> all(memory_.size(), redzone_byte);
        std::fill_n(all.begin() + redzone, bytes, std::byte{0xFF});  // floats of these bits are NaN
        device.copy_in(memory_.data(), all.data(), all.size());
    }
    void* data() const { return memory_.data() + redzone; }
    void write(const std::vector<std::byte>& bytes) {
        device_->copy_in(memory_.data() + redzone, bytes.data(), bytes_);
    }
    std::vector<std::byte> read() const {
        std::vector<std::byte> bytes(bytes_);
        device_->copy_out(bytes.data(), memory_.data() + redzone, bytes_);
        return bytes;
    }
    bool intact() const {
        std::vector<std::byte> all(memory_.size());
        device_->copy_out(all.data(), memory_.data(), all.size());
        const auto untouched = [](std::byte b) { return b == redzone_byte; };
        return std::all_of(all.begin(), all.begin() + redzone, untouched) &&
               std::all_of(all.end() - redzone, all.end(), untouched);
    }

  private:
    Device* device_;
    std::size_t bytes_;
    DeviceMemory memory_;
};

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

void store_values(const TensorDesc& desc, const Values& values, std::byte* to) {
    for_each(desc, [&](std::size_t plain, std::int64_t at) {
        const double v = values.at(plain);
        if (desc.type == DType::f32) reinterpret_cast<float*>(to)[at] = static_cast<float>(v);
        if (desc.type == DType::bf16)
            reinterpret_cast<bf16*>(to)[at] = from_float<bf16>(static_cast<float>(v));
        if (desc.type == DType::f16) reinterpret_cast<f16*>(to)[at] = from_float<f16>(static_cast<float>(v));
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
        if (desc.type == DType::bf16)
            values[plain] = static_cast<double>(to_float(reinterpret_cast<const bf16*>(from)[at]));
        if (desc.type == DType::f16)
            values[plain] = static_cast<double>(to_float(reinterpret_cast<const f16*>(from)[at]));
        if (desc.type == DType::i32) values[plain] = reinterpret_cast<const std::int32_t*>(from)[at];
        if (desc.type == DType::u8) values[plain] = reinterpret_cast<const std::uint8_t*>(from)[at];
    });
    return values;
}

Machine cpu_machine(int threads) {
    return {make_cpu_device(0), make_cpu_backend(threads)};
}

Outcome run_op(const OpDesc& desc, const std::vector<Values>& inputs, int threads) {
    return run_op(desc, inputs, cpu_machine(threads));
}

Outcome run_op(const OpDesc& desc, const std::vector<Values>& inputs, const Machine& machine) {
    Device& device = *machine.device;
    BuiltOp made = machine.backend->make(desc);

    std::vector<WatchedBuffer> buffers;
    std::vector<void*> in, out;
    for (std::size_t i = 0; i < made.desc.inputs.size(); ++i) {
        const TensorDesc& t = made.desc.inputs[i];
        std::vector<std::byte> bytes(t.bytes());  // padding stays zero
        store_values(t, inputs.at(i), bytes.data());
        buffers.emplace_back(device, t.bytes()).write(bytes);
        in.push_back(buffers.back().data());
    }
    const std::size_t first_output = buffers.size();
    for (const TensorDesc& t : made.desc.outputs)
        out.push_back(buffers.emplace_back(device, t.bytes()).data());
    void* const workspace = buffers.emplace_back(device, made.workspace).data();
    const auto launchable = device.prepare(
        {{.run = [&](Stream& stream) { made.op->run(in.data(), out.data(), workspace, stream); }}});
    const auto read_outputs = [&] {
        std::vector<std::vector<std::byte>> bytes;
        for (std::size_t i = 0; i < out.size(); ++i) bytes.push_back(buffers[first_output + i].read());
        return bytes;
    };

    Outcome outcome;
    launchable->launch();
    device.synchronize();
    const auto first = read_outputs();
    for (std::size_t i = 0; i < out.size(); ++i)
        outcome.outputs.push_back(load_values(made.desc.outputs[i], first[i].data()));

    start_counting_allocations();
    launchable->launch();
    device.synchronize();
    outcome.allocations = stop_counting_allocations();
    outcome.repeats = read_outputs() == first;
    outcome.redzones_intact =
        std::all_of(buffers.begin(), buffers.end(), [](const WatchedBuffer& b) { return b.intact(); });
    outcome.desc = made.desc;
    outcome.implementation = made.implementation;
    outcome.reorders = made.reorders;
    return outcome;
}

bool run_in_place(const OpDesc& desc, const std::vector<void*>& inputs, const std::vector<void*>& outputs,
                  const Machine& machine) {
    Device& device = *machine.device;
    BuiltOp made = machine.backend->make(desc);
    std::map<void*, WatchedBuffer> buffers;
    const auto bind = [&](const std::vector<TensorDesc>& descs, const std::vector<void*>& hosts) {
        std::vector<void*> bound;
        for (std::size_t i = 0; i < hosts.size(); ++i) {
            const auto [at, added] = buffers.try_emplace(hosts[i], device, descs.at(i).bytes());
            const auto* bytes = static_cast<const std::byte*>(hosts[i]);
            if (added) at->second.write({bytes, bytes + descs[i].bytes()});
            bound.push_back(at->second.data());
        }
        return bound;
    };
    const std::vector<void*> in = bind(made.desc.inputs, inputs), out = bind(made.desc.outputs, outputs);
    WatchedBuffer workspace(device, made.workspace);
    const auto launchable = device.prepare(
        {{.run = [&](Stream& stream) { made.op->run(in.data(), out.data(), workspace.data(), stream); }}});
    launchable->launch();
    device.synchronize();
    for (void* host : outputs) {
        const std::vector<std::byte> bytes = buffers.at(host).read();
        std::memcpy(host, bytes.data(), bytes.size());
    }
    return workspace.intact() && std::all_of(buffers.begin(), buffers.end(),
                                             [](const auto& entry) { return entry.second.intact(); });
}

}  // namespace onecycle::testing
