// The CUDA device, on the emulator: what it promises of steps, copies, memory and calls.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "device/cuda/stream.h"
#include "device/device.h"
#include "device/emulated/memory.h"
#include "kernels/cuda.h"
#include "onecycle/error.h"

namespace onecycle::emulated {

namespace {

__global__ void affine_kernel(float* x, float factor, float term, int n) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) x[i] = x[i] * factor + term;
}
__global__ void sum_kernel(float* to, const float* a, const float* b, int n) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) to[i] = a[i] + b[i];
}

constexpr int n = 300;
constexpr std::size_t bytes = n * sizeof(float);
constexpr LaunchShape shape{3, 128};

float* floats(const DeviceMemory& memory) {
    return reinterpret_cast<float*>(memory.data());
}

// Main: x = 2x + 1, then sum = x + y. Side: y = 3y + 2, which the sum waits for if `with_edge`.
struct Step {
    explicit Step(Device& device) : x(device, bytes), y(device, bytes), sum(device, bytes) {}
    std::vector<ProgramPiece> work(bool with_edge = true) const {
        return {
            {.run = [p = floats(x)](Stream& s) { launch("x", affine_kernel, shape, handle(s), p, 2, 1, n); }},
            {.run = [p = floats(y)](Stream& s) { launch("y", affine_kernel, shape, handle(s), p, 3, 2, n); },
             .branch = 1},
            {.run =
                 [this](Stream& s) {
                     launch("sum", sum_kernel, shape, handle(s), floats(sum), floats(x), floats(y), n);
                 },
             .waits = with_edge ? std::vector<int>{1} : std::vector<int>{}}};
    }
    DeviceMemory x, y, sum;
};

std::vector<float> read(Device& device, const DeviceMemory& memory) {
    std::vector<float> values(memory.size() / sizeof(float));
    device.copy_out(values.data(), memory.data(), memory.size());
    return values;
}

// Values after so many launches.
std::vector<float> sums_after(int launches, StepMode mode, bool with_edge = true) {
    const auto device = make_emulated_device(mode);
    const Step step(*device);
    const auto launchable = device->prepare(step.work(with_edge));
    for (int i = 0; i < launches; ++i) launchable->launch();
    return read(*device, step.sum);
}

TEST(CudaDevice, preparing_a_step_runs_nothing_and_each_launch_runs_it_once) {
    EXPECT_EQ(sums_after(0, StepMode::graph), std::vector<float>(n, 0.0f));
    EXPECT_EQ(sums_after(3, StepMode::graph), std::vector<float>(n, 7.0f + 26.0f));
}

TEST(CudaDevice, a_graph_with_two_branches_gives_the_same_bits_in_every_order_as_the_eager_mode) {
    const std::vector<float> eager = sums_after(5, StepMode::eager);
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        set_schedule_seed(seed);
        EXPECT_EQ(sums_after(5, StepMode::graph), eager);
    }
    set_schedule_seed(1);
}

TEST(CudaDevice, a_missing_edge_between_branches_changes_results) {
    const std::vector<float> right = sums_after(2, StepMode::eager);
    int wrong = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        set_schedule_seed(seed);
        wrong += sums_after(2, StepMode::graph, false) != right;
    }
    set_schedule_seed(1);
    EXPECT_GE(wrong, 5);
}

TEST(CudaDevice, a_launch_is_one_cudaGraphLaunch_and_no_call_that_waits) {
    const auto device = make_emulated_device();
    const Step step(*device);
    const auto launchable = device->prepare(step.work());
    const RuntimeCalls before = device->runtime_calls();
    for (int i = 0; i < 10; ++i) launchable->launch();
    RuntimeCalls after = device->runtime_calls();
    EXPECT_EQ(after.blocking, before.blocking);
    for (auto& [name, count] : after.of)
        if (before.of.count(name)) count -= before.of.at(name);
    std::erase_if(after.of, [](const auto& call) { return call.second == 0; });
    EXPECT_EQ(after.of,
              (std::map<std::string, std::uint64_t>{{"cudaGraphLaunch", 10}, {"cudaSetDevice", 10}}));
    device->synchronize();
    EXPECT_EQ(device->runtime_calls().blocking, before.blocking + 1);
}

TEST(CudaDevice, every_call_of_the_runtime_is_counted) {
    const auto device = make_emulated_device();
    const auto runtime_before = runtime_calls();
    const RuntimeCalls seam_before = device->runtime_calls();
    {
        const Step step(*device);
        const auto launchable = device->prepare(step.work());
        const std::vector<float> ones(n, 1.0f);
        device->copy_in(step.x.data(), ones.data(), bytes);
        device->copy(step.y.data(), step.x.data(), bytes);
        launchable->launch();
        read(*device, step.sum);
    }
    auto made = runtime_calls();
    for (auto& [name, count] : made)
        if (runtime_before.count(name)) count -= runtime_before.at(name);
    const RuntimeCalls seam = device->runtime_calls();
    for (const auto& [name, count] : made) {
        const std::uint64_t earlier = seam_before.of.count(name) ? seam_before.of.at(name) : 0;
        EXPECT_EQ(seam.of.count(name) ? seam.of.at(name) - earlier : 0, count) << name;
    }
}

TEST(CudaDevice, every_entry_makes_its_device_the_calling_threads) {
    set_devices(2);
    const std::vector<float> ones(n, 1.0f);
    std::vector<float> out(n);
    {
        const auto device = make_emulated_device(StepMode::graph, 1),
                   eager = make_emulated_device(StepMode::eager, 1);
        const Step step(*device), plain(*eager);
        const auto graph = device->prepare(step.work()), pieces = eager->prepare(plain.work());
        SharedMemory shared(*device, bytes);
        const auto side = device->make_side_copy({{step.x.data(), bytes}});
        side->begin();
        std::byte* memory = nullptr;
        Device::SharedPointers pinned{};
        const std::pair<const char*, std::function<void()>> entries[] = {
            {"allocate", [&] { memory = device->allocate(bytes); }},
            {"release", [&] { device->release(memory); }},
            {"free_memory", [&] { device->free_memory(); }},
            {"allocate_shared", [&] { pinned = device->allocate_shared(bytes); }},
            {"release_shared", [&] { device->release_shared(pinned.on_host); }},
            {"copy_in", [&] { device->copy_in(step.x.data(), ones.data(), bytes); }},
            {"copy", [&] { device->copy(step.y.data(), step.x.data(), bytes); }},
            {"synchronize", [&] { device->synchronize(); }},
            {"copy_ahead", [&] { device->copy_ahead(step.x.data(), shared.on_host(), bytes); }},
            {"make_side_copy",
             [&] {
                 device->make_side_copy({{step.x.data(), bytes}});
             }},
            {"SideCopy::begin", [&] { side->begin(); }},
            {"SideCopy::wait", [&] { side->wait(); }},
            {"prepare", [&] { device->prepare(step.work()); }},
            {"launch of a graph", [&] { graph->launch(); }},
            {"launch of the pieces", [&] { pieces->launch(); }},
            {"busy", [&] { device->busy(); }},
            {"copy_out", [&] { device->copy_out(out.data(), step.sum.data(), bytes); }},
        };
        std::thread([&] {
            for (const auto& [name, enter] : entries) {
                cudaSetDevice(0);  // what another device's entry left
                enter();
                int current = -1;
                cudaGetDevice(&current);
                EXPECT_EQ(current, 1) << name;
            }
        }).join();
    }
    set_devices(1);
    EXPECT_EQ(out, std::vector<float>(n, 1.0f + 5.0f)) << "x = 2 * 0 + 1 after the copy ahead, y = 3 * 1 + 2";
}

TEST(CudaDevice, copy_in_leaves_its_input_to_steps_that_were_launched_before) {
    const auto device = make_emulated_device();
    const Step step(*device);
    const auto launchable = device->prepare(step.work());
    DeviceMemory kept(*device, bytes);
    const RuntimeCalls before = device->runtime_calls();
    for (int i = 1; i <= 3; ++i) {
        std::vector<float> x(n, static_cast<float>(i));
        device->copy_in(step.x.data(), x.data(), bytes);
        std::fill(x.begin(), x.end(), -1.0f);  // the caller's own again
        launchable->launch();
        if (i == 1) device->copy(kept.data(), step.sum.data(), bytes);
    }
    EXPECT_EQ(device->runtime_calls().blocking - before.blocking, 1u) << "the ring's allocation alone";
    EXPECT_EQ(read(*device, kept), std::vector<float>(n, 3.0f + 2.0f));
    EXPECT_EQ(read(*device, step.sum), std::vector<float>(n, 7.0f + 26.0f));
}

__global__ void report_kernel(const float* x, float* seen) {
    seen[threadIdx.x] = x[threadIdx.x];
}

TEST(CudaDevice, what_a_step_writes_into_shared_memory_is_read_without_a_wait) {
    const auto device = make_emulated_device();
    const DeviceMemory x(*device, bytes);
    const SharedMemory seen(*device, bytes);
    auto* const host = reinterpret_cast<float*>(seen.on_host());
    EXPECT_EQ(host[n - 1], 0.0f);
    const auto launchable = device->prepare({{.run = [&](Stream& s) {
        launch("x", affine_kernel, shape, handle(s), floats(x), 2, 1, n);
        launch("report", report_kernel, {1, n}, handle(s), floats(x),
               reinterpret_cast<float*>(seen.on_device()));
    }}});
    const RuntimeCalls before = device->runtime_calls();
    launchable->launch();
    EXPECT_EQ(host[n - 1], 0.0f) << "it runs late";
    while (device->busy()) {
    }
    EXPECT_EQ(host[n - 1], 1.0f);
    EXPECT_EQ(device->runtime_calls().blocking, before.blocking);
}

TEST(CudaDevice, a_copy_ahead_is_there_for_the_steps_after_it_and_waits_for_none_before) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        set_schedule_seed(seed);
        const auto device = make_emulated_device();
        const Step step(*device);
        const DeviceMemory slots(*device, 2 * bytes), read_first(*device, bytes), read_then(*device, bytes);
        SharedMemory host(*device, 2 * bytes);
        device->synchronize();
        const auto reader = [&](const DeviceMemory& to, std::size_t slot) {
            return device->prepare({{.run = [&, slot](Stream& s) {
                launch("read", report_kernel, {1, n}, handle(s), floats(slots) + slot * n, floats(to));
            }}});
        };
        const auto first = reader(read_first, 0), then = reader(read_then, 1);
        auto* const values = reinterpret_cast<float*>(host.on_host());
        std::fill(values, values + n, 5.0f);
        device->copy_ahead(slots.data(), host.on_host(), bytes);
        first->launch();
        std::fill(values + n, values + 2 * n, 6.0f);
        device->copy_ahead(slots.data() + bytes, host.on_host() + bytes, bytes);
        then->launch();
        EXPECT_EQ(read(*device, read_first), std::vector<float>(n, 5.0f));
        EXPECT_EQ(read(*device, read_then), std::vector<float>(n, 6.0f));
    }
    set_schedule_seed(1);
}

TEST(CudaDevice, who_asks_whether_it_is_busy_is_told_of_a_kernel_that_failed) {
    const auto device = make_emulated_device();
    EXPECT_FALSE(device->busy());
    launch(
        "diverging",
        +[](int) {
            if (threadIdx.x == 0) __syncthreads();
        },
        {1, 32}, handle(device->stream()), 0);
    try {
        while (device->busy()) {
        }
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("diverging"), std::string::npos) << error.what();
    }
}

TEST(CudaDevice, copies_larger_than_the_ring_arrive_whole) {
    const auto device = make_emulated_device();
    std::vector<std::uint32_t> values((std::size_t{70} << 20) / sizeof(std::uint32_t) + 3);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint32_t>(i * 2654435761u);
    const DeviceMemory memory(*device, values.size() * sizeof(std::uint32_t));
    device->copy_in(memory.data(), values.data(), memory.size());
    std::vector<std::uint32_t> back(values.size());
    device->copy_out(back.data(), memory.data(), memory.size());
    EXPECT_EQ(back, values);
}

TEST(CudaDevice, many_small_copies_keep_their_order) {
    const auto device = make_emulated_device();
    const DeviceMemory memory(*device, sizeof(int));
    for (int i = 0; i <= 1000; ++i) device->copy_in(memory.data(), &i, sizeof i);
    int last = 0;
    device->copy_out(&last, memory.data(), sizeof last);
    EXPECT_EQ(last, 1000);
}

TEST(CudaDevice, memory_is_zero_and_too_much_of_it_is_an_error_with_both_sizes) {
    const auto device = make_emulated_device();
    const std::size_t before = device_memory();
    set_device_memory(std::size_t{64} << 20);
    const DeviceMemory memory(*device, 1000);
    EXPECT_EQ(read(*device, memory), std::vector<float>(250, 0.0f));
    try {
        const DeviceMemory more(*device, std::size_t{100} << 20);
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::device);
        EXPECT_NE(std::string(error.what())
                      .find("100 MiB (104857600 bytes) were asked for, 63 MiB of 64 MiB are free"),
                  std::string::npos)
            << error.what();
    }
    set_device_memory(before);
    EXPECT_NO_THROW(DeviceMemory(*device, std::size_t{1} << 20));
}

TEST(CudaDevice, a_step_that_cannot_be_captured_says_why_and_leaves_the_device_usable) {
    const auto device = make_emulated_device();
    const Step step(*device);
    EXPECT_THROW(device->prepare({{.run = [&](Stream&) { DeviceMemory(*device, 1); }}}), Error);
    EXPECT_THROW(device->prepare({{.run = [&](Stream&) { device->synchronize(); }}}), Error);
    EXPECT_THROW(device->prepare({{.run = [](Stream&) { throw Error(ErrorKind::usage, "w", "w", "w"); }}}),
                 Error);
    const auto launchable = device->prepare(step.work());
    launchable->launch();
    EXPECT_EQ(read(*device, step.sum), std::vector<float>(n, 3.0f));
}

TEST(CudaDevice, a_kernel_that_fails_is_an_error_in_its_words_and_the_next_device_works) {
    for (int round = 0; round < 2; ++round) {
        const auto device = make_emulated_device();
        launch(
            "diverging",
            +[](int) {
                if (threadIdx.x == 0) __syncthreads();
            },
            {1, 32}, handle(device->stream()), 0);
        try {
            device->synchronize();
            ADD_FAILURE();
        } catch (const Error& error) {
            EXPECT_NE(std::string(error.what()).find("diverging"), std::string::npos) << error.what();
            EXPECT_NE(std::string(error.what()).find("has ended"), std::string::npos) << error.what();
        }
    }
}

TEST(CudaDevice, an_index_that_is_not_there_is_an_error_on_one_line) {
    try {
        make_cuda_device(4711);
        ADD_FAILURE();
    } catch (const Error& error) {
        const std::string what = error.what();
        EXPECT_EQ(error.exit_code(), 7);
        EXPECT_EQ(what.rfind("no such device: cuda:4711: ", 0), 0u) << what;
        EXPECT_NE(what.find("; fix: "), std::string::npos) << what;
        EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    }
}

}  // namespace

}  // namespace onecycle::emulated
