// The climb of the reduction in batch norm's backward pass.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "bench/ladder/climb.h"
#include "bench/ladder/ladder.h"
#include "rules/half.h"
#include "rules/rng.h"

namespace onecycle::ladder {

namespace {

struct Shape {
    std::int64_t rows;
    int channels;
};
// One row, channels that fill no vectors or no tile, rows that end within a slot.
constexpr Shape odd_shapes[] = {{1, 3}, {37, 5}, {1025, 64}, {3008, 40}, {2050, 130}};
// The first layers of a ResNet34 at 224 px, batch 256.
constexpr Shape on_gpu{std::int64_t{256} * 56 * 56, 64};
constexpr Shape on_emulator{4099, 64};

// Numbers as they are stored, and what they mean.
struct Tensor {
    std::vector<std::byte> stored;
    std::vector<float> values;

    Tensor(DType type, std::size_t count, const std::function<double()>& next)
        : stored(count * size_of(type)), values(count) {
        for (std::size_t i = 0; i < count; ++i) {
            values[i] = static_cast<float>(next());
            if (type == DType::bf16) {
                const auto narrow = from_float<bf16>(values[i]);
                values[i] = to_float(narrow);
                std::memcpy(&stored[2 * i], &narrow, 2);
            } else {
                std::memcpy(&stored[4 * i], &values[i], 4);
            }
        }
    }
};

enum class Numbers { small_integers, reals };

// The truth of a channel, and how large the terms are that make it.
struct Truth {
    double sum_dy = 0, sum_dy_xhat = 0, size_dy = 0, size_dy_xhat = 0;
};

struct Problem {
    DType type;
    Shape shape;
    Numbers numbers;
    Tensor x, dy;
    std::vector<float> mean, variance;
    std::vector<Truth> truth;
};

// A variance whose sum with epsilon is 4 in float: the deviation is 2, and dividing by it is exact.
float variance_of_exact_deviation() {
    float variance = 4;
    while (variance + static_cast<float>(Gradients::epsilon) > 4) variance = std::nextafter(variance, 0.0f);
    return variance;
}

// Reals lie within three deviations of the mean. Mean and variance are given, and need not be those
// of x for the sums to be defined.
Problem make_problem(DType type, Shape shape, Numbers numbers) {
    const bool integers = numbers == Numbers::small_integers;
    RandomStream random(2, RandomPurpose::demo_data, 0, 0);
    const auto integer = [&] { return static_cast<double>(random.below(8)) - 4; };
    const auto real = [&](float size) { return static_cast<double>(random.uniform(-size, size)); };
    const auto channels = static_cast<std::size_t>(shape.channels),
               count = static_cast<std::size_t>(shape.rows) * channels;
    std::vector<float> mean(channels), variance(channels);
    for (std::size_t c = 0; c < channels; ++c) {
        mean[c] = static_cast<float>(integers ? integer() : real(4));
        variance[c] = integers ? variance_of_exact_deviation() : random.uniform(0.25f, 4.0f);
    }
    std::size_t i = 0;
    Tensor x(type, count, [&] {
        const std::size_t c = i++ % channels;
        return integers ? integer() : static_cast<double>(mean[c]) + real(3 * std::sqrt(variance[c]));
    });
    Tensor dy(type, count, [&] { return integers ? integer() : real(1); });
    std::vector<Truth> truth(channels);
    for (std::size_t at = 0; at < count; ++at) {
        const std::size_t c = at % channels;
        const double g = static_cast<double>(dy.values[at]),
                     xhat = (static_cast<double>(x.values[at]) - static_cast<double>(mean[c])) /
                            std::sqrt(static_cast<double>(variance[c]) + Gradients::epsilon);
        truth[c].sum_dy += g;
        truth[c].size_dy += std::abs(g);
        truth[c].sum_dy_xhat += g * xhat;
        truth[c].size_dy_xhat += std::abs(g * xhat);
    }
    return {type,
            shape,
            numbers,
            std::move(x),
            std::move(dy),
            std::move(mean),
            std::move(variance),
            std::move(truth)};
}

struct OnDevice {
    Device& device;
    DeviceMemory x, dy, mean, variance, sums;
    Gradients task;

    OnDevice(Device& on, const Problem& p, std::size_t copies = 1)
        : device(on),
          x(on, copies * p.x.stored.size()),
          dy(on, copies * p.dy.stored.size()),
          mean(on, p.mean.size() * sizeof(float)),
          variance(on, p.mean.size() * sizeof(float)),
          sums(on, 2 * p.mean.size() * sizeof(float)),
          task{x.data(),
               dy.data(),
               p.shape.rows,
               p.shape.channels,
               reinterpret_cast<const float*>(mean.data()),
               reinterpret_cast<const float*>(variance.data()),
               reinterpret_cast<float*>(sums.data()),
               reinterpret_cast<float*>(sums.data()) + p.mean.size(),
               nullptr} {
        for (std::size_t i = 0; i < copies; ++i) {
            device.copy_in(x.data() + i * p.x.stored.size(), p.x.stored.data(), p.x.stored.size());
            device.copy_in(dy.data() + i * p.dy.stored.size(), p.dy.stored.data(), p.dy.stored.size());
        }
        device.copy_in(mean.data(), p.mean.data(), mean.size());
        device.copy_in(variance.data(), p.variance.data(), variance.size());
    }
};

// The sums of dy, then those of dy xhat.
std::vector<float> answer_of(const Rung<Gradients>& rung, OnDevice& problem) {
    Device& device = problem.device;
    std::vector<float> answer(problem.sums.size() / sizeof(float), std::numeric_limits<float>::quiet_NaN());
    device.copy_in(problem.sums.data(), answer.data(), problem.sums.size());
    const DeviceMemory workspace(device, rung.workspace_bytes(problem.task));
    Gradients task = problem.task;
    task.workspace = workspace.data();
    rung.run(task, device.stream());
    device.copy_out(answer.data(), problem.sums.data(), problem.sums.size());
    return answer;
}

// Of small integers every sum is exact in any order, and only the last operations round: 4 units of
// the answer are allowed, and a row too few or too many changes it by half or more. Of reals, a sum
// of n terms is off by at most n units of the sum of their sizes; a term of sum_dy_xhat is itself
// rounded, by x - mean, two products, and the root, sum and quotient of the deviation: 8 more.
// Returns how far off the worst sum is, in sizes.
double expect_right(const Rung<Gradients>& rung, const Problem& p, Device& device) {
    OnDevice problem(device, p);
    const std::vector<float> answer = answer_of(rung, problem);
    const std::size_t channels = p.mean.size();
    const bool integers = p.numbers == Numbers::small_integers;
    const double allowed = integers ? 4 * unit : (static_cast<double>(p.shape.rows) + 8) * unit;
    double largest = 0;
    const auto fail = [&](const std::string& why) {
        throw std::runtime_error(fmt::format("a rung is wrong: {} on [{}, {}] {}: {}", rung.name,
                                             p.shape.rows, p.shape.channels, name_of(p.type), why));
    };
    for (std::size_t c = 0; c < channels; ++c) {
        const Truth& t = p.truth[c];
        const auto expect = [&](const char* what, float got, double truth, double size) {
            const double off = std::abs(static_cast<double>(got) - truth),
                         most = allowed * (integers ? std::abs(truth) : size);
            if (!(off <= most))
                fail(fmt::format("{} of channel {} is {}, not {} (allowed: {:.1e})", what, c, got, truth,
                                 most));
            if (size > 0) largest = std::max(largest, off / size);
        };
        expect("the sum of dy", answer[c], t.sum_dy, t.size_dy);
        expect("the sum of dy xhat", answer[channels + c], t.sum_dy_xhat, t.size_dy_xhat);
    }
    if (answer_of(rung, problem) != answer) fail("a second run gives other bits");
    return largest;
}

double seconds_of(const Rung<Gradients>& rung, const Problem& p, Device& device) {
    constexpr std::size_t copies = 4;
    const OnDevice problem(device, p, copies);
    const DeviceMemory workspace(device, rung.workspace_bytes(problem.task));
    return median_seconds(device, [&](std::size_t i, Stream& stream) {
        Gradients task = problem.task;
        task.x = problem.x.data() + i % copies * p.x.stored.size();
        task.dy = problem.dy.data() + i % copies * p.dy.stored.size();
        task.workspace = workspace.data();
        rung.run(task, stream);
    });
}

void climb(const std::vector<Rung<Gradients>>& rungs, DType type, Device& device) {
    const bool timed = device.kind() == DeviceKind::cuda;
    const Shape shape = timed ? on_gpu : on_emulator;
    const Problem p = make_problem(type, shape, Numbers::reals);
    const double bytes = 2 * static_cast<double>(p.x.stored.size());
    fmt::print("\nx and dy [{}, {}] {}, {:.1f} MB together\n\n| rung               |{}{} off by |\n",
               shape.rows, shape.channels, name_of(type), bytes / 1e6, timed ? "       µs | GB/s |" : "",
               CountColumns::head());
    fmt::print("|--------------------|{}{}-------:|\n", timed ? "---------:|-----:|" : "",
               CountColumns::line());
    for (const Rung<Gradients>& rung : rungs) {
        for (const Shape& odd : odd_shapes)
            expect_right(rung, make_problem(type, odd, Numbers::small_integers), device);
        expect_right(rung, make_problem(type, on_emulator, Numbers::small_integers), device);
        const double off = expect_right(rung, p, device);
        fmt::print("| {:18} |", rung.name);
        if (timed) {
            const double seconds = seconds_of(rung, p, device);
            fmt::print(" {:8.1f} | {:4.0f} |", seconds * 1e6, bytes / seconds / 1e9);
        }
        OnDevice problem(device, p);
        fmt::print("{} {:.0e} |\n", CountColumns::cells(counts_of(device, [&] { answer_of(rung, problem); })),
                   off);
    }
}

}  // namespace

void climb_gradients(Device& device) {
    const bool gpu = device.kind() == DeviceKind::cuda;
    fmt::print("\nThe sums of batch norm's backward pass (gradients.cu)\n");
    for (const DType type : {DType::bf16, DType::f32})
        climb(gpu ? gradients_on_gpu(type) : gradients_on_emulator(type), type, device);
}

}  // namespace onecycle::ladder
