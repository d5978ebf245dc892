// A network, its state and programs put together for tests, from the formula's weights and images.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device_under_test.h"
#include "nn/network_of.h"
#include "nn/program.h"
#include "reference/formula.h"

namespace onecycle::testing {

inline ProgramKey training_key(int batch, const OptimizerOptions& optimizer = {}) {
    ProgramKey key;
    key.batch = batch;
    key.optimizer = optimizer;
    return key;
}

inline Schedule constant_schedule(double lr, double momentum) {
    Schedule schedule{};
    schedule.steps = 1000;
    schedule.count = 1;
    schedule.segments[0] = {0, 1000, lr, lr, momentum, momentum, Curve::linear, Curve::linear};
    return schedule;
}

// A back end, the device it runs on, and what programs compute in.
struct Machine {
    std::unique_ptr<Device> device;
    std::unique_ptr<Backend> backend;
    DType compute = DType::f32;
};

inline Machine cpu_machine(int threads = 2) {
    return {make_cpu_device(threads), make_cpu_backend(threads)};
}
inline Machine emulated_machine(DType compute = DType::f32) {
    return {cuda_device_under_test(), cuda_backend_under_test(), compute};
}

// Owns everything that one program needs to run.
struct Session {
    Session(const NamedNetwork& options, const ProgramKey& key, Machine machine = cpu_machine())
        : Session(network_of(options), key, std::move(machine)) {}
    Session(Network network_, const ProgramKey& key, Machine machine = cpu_machine())
        : size(static_cast<int>(network_.layers().front().shape[1])),
          classes(static_cast<int>(network_.classes())),
          device(std::move(machine.device)),
          backend(std::move(machine.backend)),
          network(std::move(network_)),
          layout(network, *backend, false, machine.compute),
          state(*device, network, layout, key.optimizer, {.rank = key.rank, .ranks = key.ranks}),
          program(compile(network, layout, *backend, key)),
          arena(*device, program.arena_bytes),
          runnable(program, state, arena) {
        StepControl control = state.read_control();
        control.schedule = constant_schedule(0.01, 0.9);
        control.last_update = 1000;
        state.write_control(control);
    }

    // Every parameter and running statistic from the formula.
    void set_formula_weights(double norm_bias) {
        std::map<std::string, HostTensor> tensors = state.weights();
        for (auto& [name, tensor] : tensors)
            tensor.values = reference::parameter(name, tensor.shape, norm_bias);
        state.set_weights(tensors);
    }

    void set_formula_batch(const std::string& images = "images", const std::string& labels = "labels") {
        const auto n = static_cast<std::size_t>(program.key.batch);
        const auto pixels = reference::images(images, n, static_cast<std::size_t>(size));
        const auto targets = reference::labels(labels, n, static_cast<std::uint32_t>(classes));
        runnable.set_batch(pixels.data(), targets.data(), program.key.batch);
    }

    // The buffer of this name.
    int buffer(const std::string& name) const {
        for (std::size_t b = 0; b < program.buffers.size(); ++b)
            if (program.buffers[b].name == name) return static_cast<int>(b);
        throw std::runtime_error("no buffer " + name);
    }

    int size, classes;
    std::unique_ptr<Device> device;
    std::unique_ptr<Backend> backend;
    Network network;
    StateLayout layout;
    State state;
    Program program;
    DeviceMemory arena;
    Runnable runnable;
};

}  // namespace onecycle::testing
