#include "cuda/cuda.h"

#include "rules/half.h"
#include "rules/rng.h"

namespace onecycle::testing {

Values stored_as(DType type, const Values& values) {
    Values stored = values;
    for (double& v : stored) {
        const float f = static_cast<float>(v);
        v = static_cast<double>(type == DType::bf16  ? to_float(from_float<bf16>(f))
                                : type == DType::f16 ? to_float(from_float<f16>(f))
                                                     : f);
    }
    return stored;
}

Values random_values(const TensorDesc& desc, std::uint64_t seed) {
    RandomStream stream(seed, RandomPurpose::augment, 0, 0);
    Values values(static_cast<std::size_t>(desc.elements()));
    for (double& v : values) v = stream.uniform(-1, 1);
    return stored_as(desc.type, values);
}

void expect_agrees(const OpDesc& desc, const std::vector<Values>& inputs, double units,
                   const Machine& machine) {
    const Outcome outcome = run_op(desc, inputs, machine);
    const std::vector<Values> expected = reference(desc, inputs);
    EXPECT_TRUE(outcome.redzones_intact);
    EXPECT_TRUE(outcome.repeats);
    ASSERT_EQ(outcome.outputs.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(outcome.outputs[i].size(), expected[i].size()) << "output " << i;
        double largest = 1;
        for (double v : expected[i]) largest = std::max(largest, std::abs(v));
        const double allowed = units * rounding(outcome.desc.outputs[i].type) * largest;
        for (std::size_t k = 0; k < expected[i].size(); ++k)
            if (!(std::abs(outcome.outputs[i][k] - expected[i][k]) <= allowed)) {
                ADD_FAILURE() << "output " << i << " element " << k << ": " << outcome.outputs[i][k]
                              << " instead of " << expected[i][k];
                return;
            }
    }
}

}  // namespace onecycle::testing
