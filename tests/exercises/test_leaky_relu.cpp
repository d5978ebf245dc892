// Leaky ReLU as an operation of both back ends, beside its formula in double precision. The tree has
// no such operation: whoever solves the exercise writes it (docs/exercises.md).
#include <limits>

#include "cuda/cuda.h"

namespace onecycle::testing {

namespace {

constexpr double slope = 0.01;
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

double leaky(double x) {
    return x > 0 ? x : slope * x;
}

// Where the operation runs, and on which tensors.
struct Place {
    const char* name;
    Machine machine;
    std::vector<TensorDesc> tensors;
};

// Of odd sizes, so that the last elements fill no vector. Order does not matter to the operation, so
// that each back end has to take its own layouts.
std::vector<Place> both_back_ends() {
    std::vector<Place> places;
    places.push_back({"cpu",
                      cpu_machine(2),
                      {TensorDesc({3, 5, 7, 11}), TensorDesc({2, 3, 5, 1}, Layout::nhwc),
                       TensorDesc({3, 8, 5, 7}, Layout::nChw8c), TensorDesc({3, 13})}});
    Place emulated{"emulated", emulated_machine(), {}};
    for (const DType type : float_types)
        for (const TensorDesc& shape :
             {TensorDesc({3, 5, 7, 11}, Layout::nhwc), TensorDesc({7, 64, 13, 5}, Layout::nhwc),
              TensorDesc({1, 8, 1, 1}, Layout::nhwc), TensorDesc({3, 13})}) {
            emulated.tensors.push_back(shape);
            emulated.tensors.back().type = type;
        }
    places.push_back(std::move(emulated));
    return places;
}

// In [-1, 1), some of them zero, of both signs.
Values random_with_zeros(const TensorDesc& desc, std::uint64_t seed) {
    Values values = random_values(desc, seed);
    for (std::size_t k = 0; k < values.size(); k += 5) values[k] = k % 2 ? 0.0 : -0.0;
    return values;
}

Values run(OpKind kind, const TensorDesc& desc, const std::vector<Values>& inputs, const Machine& machine) {
    const Outcome outcome =
        run_op({.kind = kind, .inputs = std::vector<TensorDesc>(inputs.size(), desc), .outputs = {desc}},
               inputs, machine);
    EXPECT_TRUE(outcome.redzones_intact) << "memory beside the tensor has changed";
    EXPECT_TRUE(outcome.repeats) << "two runs differ";
    return outcome.outputs.at(0);
}

// Each value by itself, to two roundings of its type: small ones show a wrong slope, too.
void expect_near(const Values& got, const Values& expected, const TensorDesc& desc) {
    const double smallest = desc.type == DType::f16 ? 6e-8 : 0;  // the step between its small numbers
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t k = 0; k < got.size(); ++k)
        ASSERT_NEAR(got[k], expected[k], 2 * rounding(desc.type) * std::abs(expected[k]) + smallest)
            << "element " << k << " of " << to_string(desc);
}

TEST(LeakyRelu, forward_is_the_formula_in_double_precision) {
    for (const Place& place : both_back_ends())
        for (const TensorDesc& desc : place.tensors) {
            SCOPED_TRACE(std::string(place.name) + " " + to_string(desc));
            const Values x = random_with_zeros(desc, 1);
            Values expected;
            for (const double v : x) expected.push_back(leaky(v));
            expect_near(run(OpKind::leaky_relu, desc, {x}, place.machine), expected, desc);
        }
}

// dx = dy f'(x), the derivative as a difference of the formula's values: exact, since the formula is
// two straight lines. Where x is 0 it is the slope, as PyTorch has it.
TEST(LeakyRelu, gradient_is_the_derivative_of_the_formula) {
    for (const Place& place : both_back_ends())
        for (const TensorDesc& desc : place.tensors) {
            SCOPED_TRACE(std::string(place.name) + " " + to_string(desc));
            const Values x = random_with_zeros(desc, 1), dy = random_values(desc, 2);
            Values y, expected;
            for (std::size_t k = 0; k < x.size(); ++k) {
                const double h = std::abs(x[k]) / 2;
                y.push_back(leaky(x[k]));
                expected.push_back(dy[k] * (h > 0 ? (leaky(x[k] + h) - leaky(x[k] - h)) / (2 * h) : slope));
            }
            expect_near(run(OpKind::leaky_relu_backward, desc, {dy, stored_as(desc.type, y)}, place.machine),
                        expected, desc);
        }
}

TEST(LeakyRelu, what_is_not_finite_stays_so) {
    for (const Place& place : both_back_ends())
        for (TensorDesc desc : place.tensors) {
            SCOPED_TRACE(std::string(place.name) + " " + to_string(desc));
            Values x(static_cast<std::size_t>(desc.elements()), 1.0);
            x.front() = nan, x[1] = inf, x.back() = -inf;
            const Values y = run(OpKind::leaky_relu, desc, {x}, place.machine);
            EXPECT_TRUE(std::isnan(y.front()));
            EXPECT_EQ(y[1], inf);
            EXPECT_EQ(y.back(), -inf);
        }
}

// What both decide alike stands once, in src/rules.
TEST(LeakyRelu, both_back_ends_give_equal_bits) {
    const TensorDesc desc({3, 8, 5, 7}, Layout::nhwc);
    const Values x = random_values(desc, 3), dy = random_values(desc, 4);
    const Machine cpu = cpu_machine(2), emulated = emulated_machine();
    const Values y = run(OpKind::leaky_relu, desc, {x}, cpu);
    EXPECT_EQ(y, run(OpKind::leaky_relu, desc, {x}, emulated));
    EXPECT_EQ(run(OpKind::leaky_relu_backward, desc, {dy, y}, cpu),
              run(OpKind::leaky_relu_backward, desc, {dy, y}, emulated));
}

TEST(LeakyRelu, operands_that_do_not_fit_are_refused) {
    for (const Place& place : both_back_ends()) {
        const TensorDesc x({2, 8, 3, 3}, Layout::nhwc), other({2, 8, 3, 5}, Layout::nhwc);
        EXPECT_THROW(
            place.machine.backend->make({.kind = OpKind::leaky_relu, .inputs = {x}, .outputs = {other}}),
            std::exception)
            << place.name;
        EXPECT_THROW(place.machine.backend->make(
                         {.kind = OpKind::leaky_relu_backward, .inputs = {x, other}, .outputs = {x}}),
                     std::exception)
            << place.name;
    }
}

}  // namespace

}  // namespace onecycle::testing
