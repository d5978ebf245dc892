#include "cuda/cuda.h"

namespace onecycle::testing {

namespace {

TEST(CudaElementwise, agrees_with_the_reference_in_every_type_and_at_odd_sizes) {
    const Machine machine = emulated_machine();
    for (DType type : float_types)
        for (const TensorDesc& shape :
             {TensorDesc{1, 8, 1, 1}, {3, 5, 7, 11}, {7, 64, 13, 5}, {2, 3, 1, 1}}) {
            TensorDesc x = shape;
            x.type = type;
            x.layout = Layout::nhwc;
            const Values a = random_values(x, 1), b = random_values(x, 2);
            expect_agrees({.kind = OpKind::relu, .inputs = {x}, .outputs = {x}}, {a}, 1, machine);
            expect_agrees({.kind = OpKind::relu_backward, .inputs = {x, x}, .outputs = {x}}, {a, b}, 1,
                          machine);
            expect_agrees({.kind = OpKind::add, .inputs = {x, x}, .outputs = {x}}, {a, b}, 1, machine);
        }
}

}  // namespace

}  // namespace onecycle::testing
