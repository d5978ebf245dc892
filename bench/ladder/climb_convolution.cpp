// The climb of the convolution.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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
    int images, height, width, channels, outputs;
};
// One pixel, an image narrower than the kernel, channels that fill no vectors, tiles that y cuts.
constexpr Shape odd_shapes[] = {{1, 1, 1, 8, 1}, {2, 5, 2, 3, 7}, {1, 7, 9, 24, 70}, {3, 4, 5, 16, 20}};
// The second stage of a ResNet34 at 224 px, batch 256.
constexpr Shape on_gpu{256, 28, 28, 128, 128};
constexpr Shape on_emulator{1, 14, 14, 32, 64};

enum class Numbers { small_integers, reals };

struct Problem {
    Shape shape;
    std::vector<f16> x, w;
    std::vector<double> truth, size;  // of y; the sum of the sizes of the terms

    double flops() const { return 2 * 9.0 * shape.channels * static_cast<double>(pixels()) * shape.outputs; }
    std::size_t pixels() const { return static_cast<std::size_t>(shape.images * shape.height * shape.width); }
    double least_bytes() const {
        return 2.0 * static_cast<double>(x.size() + w.size()) +
               4.0 * static_cast<double>(pixels()) * shape.outputs;
    }
};

std::vector<f16> numbers(std::size_t count, Numbers kind, std::uint32_t of) {
    RandomStream random(3, RandomPurpose::demo_data, of, 0);
    std::vector<f16> list(count);
    for (f16& value : list)
        value = from_float<f16>(kind == Numbers::small_integers ? static_cast<float>(random.below(8)) - 4
                                                                : random.uniform(-1.0f, 1.0f));
    return list;
}

// `with_truth`: what large problems, which are only timed, do without.
Problem make_problem(const Shape& s, Numbers kind, bool with_truth = true) {
    const auto channels = static_cast<std::size_t>(s.channels), outputs = static_cast<std::size_t>(s.outputs);
    Problem p{s, {}, {}, {}, {}};
    p.x = numbers(p.pixels() * channels, kind, 0);
    p.w = numbers(outputs * 9 * channels, kind, 1);
    if (!with_truth) return p;
    p.truth.resize(p.pixels() * outputs);
    p.size.resize(p.pixels() * outputs);
    std::size_t at = 0;
    for (int image = 0; image < s.images; ++image)
        for (int row = 0; row < s.height; ++row)
            for (int column = 0; column < s.width; ++column)
                for (std::size_t o = 0; o < outputs; ++o, ++at)
                    for (int tap = 0; tap < 9; ++tap) {
                        const int from_row = row + tap / 3 - 1, from_column = column + tap % 3 - 1;
                        if (from_row < 0 || from_row >= s.height || from_column < 0 || from_column >= s.width)
                            continue;
                        const f16* const x = &p.x[static_cast<std::size_t>(
                                                      (image * s.height + from_row) * s.width + from_column) *
                                                  channels];
                        const f16* const w = &p.w[(o * 9 + static_cast<std::size_t>(tap)) * channels];
                        for (std::size_t c = 0; c < channels; ++c) {
                            const double term =
                                static_cast<double>(to_float(x[c])) * static_cast<double>(to_float(w[c]));
                            p.truth[at] += term;
                            p.size[at] += std::abs(term);
                        }
                    }
    return p;
}

struct OnDevice {
    Device& device;
    DeviceMemory x, w, y;
    Convolution task;

    OnDevice(Device& on, const Problem& p)
        : device(on),
          x(on, p.x.size() * sizeof(f16)),
          w(on, p.w.size() * sizeof(f16)),
          y(on, p.pixels() * static_cast<std::size_t>(p.shape.outputs) * sizeof(float)),
          task{x.data(),         w.data(),        reinterpret_cast<float*>(y.data()),
               p.shape.images,   p.shape.height,  p.shape.width,
               p.shape.channels, p.shape.outputs, nullptr} {
        device.copy_in(x.data(), p.x.data(), x.size());
        device.copy_in(w.data(), p.w.data(), w.size());
    }
};

std::vector<float> answer_of(const Rung<Convolution>& rung, OnDevice& problem) {
    std::vector<float> answer(problem.y.size() / sizeof(float), std::numeric_limits<float>::quiet_NaN());
    problem.device.copy_in(problem.y.data(), answer.data(), problem.y.size());
    rung.run(problem.task, problem.device.stream());
    problem.device.copy_out(answer.data(), problem.y.data(), problem.y.size());
    return answer;
}

// A product of two f16 is exact in float: it has 22 bits. Of integers from -4 to 3 every sum is
// exact too, in any order, and the answer must be; a place left out or taken twice shows. Of reals,
// K additions are off by at most K units of the sum of the sizes, twice that where a tensor core
// cuts digits off instead of rounding them.
void expect_right(const Rung<Convolution>& rung, const Shape& s, Numbers kind, Device& device) {
    const Problem p = make_problem(s, kind);
    OnDevice problem(device, p);
    const std::vector<float> answer = answer_of(rung, problem);
    const auto fail = [&](const std::string& why) {
        throw std::runtime_error(fmt::format("a rung is wrong: {} on [{}, {}, {}, {}] -> {}: {}", rung.name,
                                             s.images, s.height, s.width, s.channels, s.outputs, why));
    };
    for (std::size_t i = 0; i < answer.size(); ++i) {
        const double allowed = kind == Numbers::small_integers ? 0 : 2 * 9 * s.channels * unit * p.size[i];
        if (!(std::abs(static_cast<double>(answer[i]) - p.truth[i]) <= allowed))
            fail(fmt::format("number {} is {}, not {} (allowed: {:.1e})", i, answer[i], p.truth[i], allowed));
    }
    if (answer_of(rung, problem) != answer) fail("a second run gives other bits");
}

}  // namespace

void climb_convolution(Device& device) {
    const bool timed = device.kind() == DeviceKind::cuda;
    const auto rungs = timed ? convolution_on_gpu() : convolution_on_emulator();
    const Problem p = make_problem(timed ? on_gpu : on_emulator, Numbers::reals, false);
    fmt::print(
        "\nA convolution of 3 x 3 (convolution.cu)\n\n[{}, {}, {}, {}] -> {} f16, {:.3f} GFLOP, {:.2f} MB at "
        "least\n",
        p.shape.images, p.shape.height, p.shape.width, p.shape.channels, p.shape.outputs, p.flops() / 1e9,
        p.least_bytes() / 1e6);
    const std::string times = timed ? "       µs | TFLOP/s |" : "",
                      line = timed ? "---------:|--------:|" : "";
    fmt::print("\n| rung               |{}{}\n|--------------------|{}{}\n", times, CountColumns::head(),
               line, CountColumns::line());
    for (const Rung<Convolution>& rung : rungs) {
        for (const Shape& odd : odd_shapes) expect_right(rung, odd, Numbers::small_integers, device);
        expect_right(rung, on_emulator, Numbers::small_integers, device);
        expect_right(rung, on_emulator, Numbers::reals, device);
        fmt::print("| {:18} |", rung.name);
        OnDevice problem(device, p);
        if (timed) {
            const double seconds =
                median_seconds(device, [&](std::size_t, Stream& stream) { rung.run(problem.task, stream); });
            fmt::print(" {:8.1f} | {:7.2f} |", seconds * 1e6, p.flops() / seconds / 1e12);
        }
        fmt::print("{}\n", CountColumns::cells(counts_of(device, [&] { answer_of(rung, problem); })));
    }
}

}  // namespace onecycle::ladder
