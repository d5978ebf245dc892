// The climb of batch norm's statistics, beside a copy of x.
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
// The first layers of a ResNet34 at 224 px, batch 256; larger than any L2 cache even in bf16.
constexpr Shape on_gpu{std::int64_t{256} * 56 * 56, 64};
constexpr Shape on_emulator{4099, 64};

enum class Numbers { small_integers, far_from_zero };

// x on the host, as it is stored, and its true statistics.
struct Problem {
    DType type;
    Shape shape;
    std::vector<std::byte> x;
    std::vector<double> mean, variance;
};

Problem make_problem(DType type, Shape shape, Numbers numbers) {
    constexpr std::size_t period = 65537;  // a prime: channels differ
    std::vector<float> stored(period);
    std::vector<std::byte> bytes(period * size_of(type));
    RandomStream random(1, RandomPurpose::demo_data, 0, 0);
    for (std::size_t i = 0; i < period; ++i) {
        const double value = numbers == Numbers::small_integers
                                 ? static_cast<double>(random.below(8)) - 4
                                 : 100 + random.uniform(-std::sqrt(3.0f), std::sqrt(3.0f));
        stored[i] = static_cast<float>(value);
        if (type == DType::bf16) {
            const auto narrow = from_float<bf16>(stored[i]);
            stored[i] = to_float(narrow);
            std::memcpy(&bytes[2 * i], &narrow, 2);
        } else {
            std::memcpy(&bytes[4 * i], &stored[i], 4);
        }
    }
    const auto channels = static_cast<std::size_t>(shape.channels),
               count = static_cast<std::size_t>(shape.rows) * channels;
    Problem p{type, shape, std::vector<std::byte>(count * size_of(type)), {}, {}};
    for (std::size_t at = 0; at < p.x.size(); at += bytes.size())
        std::memcpy(&p.x[at], bytes.data(), std::min(bytes.size(), p.x.size() - at));

    const auto mean_of = [&](auto f) {
        std::vector<double> sums(channels);
        for (std::size_t k = 0, c = 0, i = 0; k < count; ++k) {
            sums[c] += f(static_cast<double>(stored[i]), c);
            if (++c == channels) c = 0;
            if (++i == period) i = 0;
        }
        for (double& sum : sums) sum /= static_cast<double>(shape.rows);
        return sums;
    };
    p.mean = mean_of([](double value, std::size_t) { return value; });
    p.variance =
        mean_of([&](double value, std::size_t c) { return (value - p.mean[c]) * (value - p.mean[c]); });
    return p;
}

// A problem in the device's memory: x once or more, as many bytes apart as it has.
struct OnDevice {
    Device& device;
    DeviceMemory x, mean, variance;
    Statistics task;

    OnDevice(Device& on, const Problem& p, std::size_t copies = 1)
        : device(on),
          x(on, copies * p.x.size()),
          mean(on, p.mean.size() * sizeof(float)),
          variance(on, p.mean.size() * sizeof(float)),
          task{x.data(),
               p.shape.rows,
               p.shape.channels,
               reinterpret_cast<float*>(mean.data()),
               reinterpret_cast<float*>(variance.data()),
               nullptr} {
        for (std::size_t i = 0; i < copies; ++i)
            device.copy_in(x.data() + i * p.x.size(), p.x.data(), p.x.size());
    }
};

// Means, then variances.
std::vector<float> answer_of(const Rung<Statistics>& rung, OnDevice& problem) {
    Device& device = problem.device;
    const auto channels = static_cast<std::size_t>(problem.task.channels);
    std::vector<float> answer(2 * channels, std::numeric_limits<float>::quiet_NaN());
    const std::size_t bytes = channels * sizeof(float);
    device.copy_in(problem.mean.data(), answer.data(), bytes);
    device.copy_in(problem.variance.data(), answer.data(), bytes);
    const DeviceMemory workspace(device, rung.workspace_bytes(problem.task));
    Statistics task = problem.task;
    task.workspace = workspace.data();
    rung.run(task, device.stream());
    device.copy_out(answer.data(), problem.mean.data(), bytes);
    device.copy_out(answer.data() + channels, problem.variance.data(), bytes);
    return answer;
}

[[noreturn]] void wrong(const Rung<Statistics>& rung, const Problem& p, const std::string& why) {
    throw std::runtime_error(fmt::format("a rung is wrong: {} on [{}, {}] {}: {}", rung.name, p.shape.rows,
                                         p.shape.channels, name_of(p.type), why));
}

// Of integers from -4 to 3 and less than 2^20 rows, every sum and sum of squares, in any order, is
// an integer below 2^24: exact in float. Only the last few operations round, and what combines
// parts: 4 roundings are allowed, 2 were seen. One row too few or too many changes more, even of a
// million.
void expect_right(const Rung<Statistics>& rung, const Problem& p, Device& device) {
    OnDevice problem(device, p);
    const std::vector<float> answer = answer_of(rung, problem);
    for (std::size_t c = 0; c < p.mean.size(); ++c) {
        const double square = p.mean[c] * p.mean[c] + p.variance[c];
        const auto expect = [&](const char* what, float got, double truth, double allowed) {
            if (!(std::abs(static_cast<double>(got) - truth) <= allowed))
                wrong(rung, p,
                      fmt::format("{} of channel {} is {}, not {} (allowed: {:.1e})", what, c, got, truth,
                                  allowed));
        };
        expect("the mean", answer[c], p.mean[c], 4 * unit * std::sqrt(square));
        expect("the variance", answer[p.mean.size() + c], p.variance[c], 4 * unit * square);
    }
    if (answer_of(rung, problem) != answer) wrong(rung, p, "a second run gives other bits");
}

// The largest relative error of a variance, where means are 100 times the deviation.
double variance_error(const Rung<Statistics>& rung, const Problem& p, Device& device) {
    OnDevice problem(device, p);
    const std::vector<float> answer = answer_of(rung, problem);
    double largest = 0;
    for (std::size_t c = 0; c < p.variance.size(); ++c)
        largest =
            std::max(largest, std::abs(static_cast<double>(answer[p.variance.size() + c]) - p.variance[c]) /
                                  p.variance[c]);
    return largest;
}

// Seconds of each rung, then of a copy of x; medians. The work goes round four copies of x: before
// the same one comes again, three others have been through the L2 cache, so that x is always read
// from memory.
std::vector<double> times(const std::vector<Rung<Statistics>>& rungs, const Problem& p, Device& device) {
    constexpr std::size_t copies = 4;
    const OnDevice problem(device, p, copies);
    const auto place = [&](std::size_t i) { return problem.x.data() + i % copies * p.x.size(); };
    std::vector<double> medians;
    const auto time = [&](const std::function<void(std::size_t, Stream&)>& work) {
        medians.push_back(median_seconds(device, work));
    };
    for (const Rung<Statistics>& rung : rungs) {
        const DeviceMemory workspace(device, rung.workspace_bytes(problem.task));
        time([&](std::size_t i, Stream& stream) {
            Statistics task = problem.task;
            task.x = place(i);
            task.workspace = workspace.data();
            rung.run(task, stream);
        });
    }
    time([&](std::size_t i, Stream&) { device.copy(place(i + 1), place(i), p.x.size()); });
    return medians;
}

void climb(const std::vector<Rung<Statistics>>& rungs, DType type, Device& device) {
    const bool timed = device.kind() == DeviceKind::cuda;
    const Shape shape = timed ? on_gpu : on_emulator;
    std::vector<double> seconds, errors;
    std::vector<Counts> counts;
    {
        const Problem p = make_problem(type, shape, Numbers::small_integers);
        for (const Rung<Statistics>& rung : rungs) {
            for (const Shape& odd : odd_shapes)
                expect_right(rung, make_problem(type, odd, Numbers::small_integers), device);
            expect_right(rung, p, device);
            OnDevice problem(device, p);
            counts.push_back(counts_of(device, [&] { answer_of(rung, problem); }));
        }
        if (timed) seconds = times(rungs, p, device);
    }
    const Problem far = make_problem(type, shape, Numbers::far_from_zero);
    for (const Rung<Statistics>& rung : rungs) errors.push_back(variance_error(rung, far, device));
    if (errors.back() > 1e-5)
        wrong(rungs.back(), far, fmt::format("a variance is off by {:.1e} of itself", errors.back()));

    const double bytes = static_cast<double>(far.x.size());
    fmt::print("\nx [{}, {}] {}, {:.1f} MB", shape.rows, shape.channels, name_of(type), bytes / 1e6);
    if (timed)
        fmt::print("; a copy of it takes {:.1f} µs, {:.0f} GB/s read and written", seconds.back() * 1e6,
                   2 * bytes / seconds.back() / 1e9);
    const char *const head = timed ? "       µs | GB/s | of the copy |" : "",
                      *const line = timed ? "---------:|-----:|------------:|" : "";
    fmt::print(
        "\n\n| rung               |{}{} variance off by |\n|--------------------|{}{}----------------:|\n",
        head, CountColumns::head(), line, CountColumns::line());
    for (std::size_t i = 0; i < rungs.size(); ++i) {
        fmt::print("| {:18} |", rungs[i].name);
        if (timed)
            fmt::print(" {:8.1f} | {:4.0f} | {:9.0f} % |", seconds[i] * 1e6, bytes / seconds[i] / 1e9,
                       100 * seconds.back() / 2 / seconds[i]);
        fmt::print("{}         {:.1e} |\n", CountColumns::cells(counts[i]), errors[i]);
    }
}

}  // namespace

void climb_statistics(Device& device) {
    const bool gpu = device.kind() == DeviceKind::cuda;
    fmt::print("\nBatch norm's statistics (statistics.cu)\n");
    for (const DType type : {DType::bf16, DType::f32})
        climb(gpu ? statistics_on_gpu(type) : statistics_on_emulator(type), type, device);
}

}  // namespace onecycle::ladder
