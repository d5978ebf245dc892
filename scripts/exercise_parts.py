"""Parts of the code that scripts/exercise takes out for you to write: by name, the edits that take one out.

As in seeded_bugs_list.py: the text as it is (`old`), what stands there instead (`new`), and the tests that judge.
What the tree does not have is asked for, too: the edit then adds its test to the build, and an answer stands here
(ANSWERS), as edits to the tree; `old` is empty for a file that is new.
"""

PARTS, ANSWERS = {}, {}


def edits_of(name, what, tests, edits):
    return [dict(name=name, what=what, tests=tests, file=file, old=old, new=new) for file, old, new in edits]


def part(name, what, tests, *edits):
    PARTS[name] = edits_of(name, what, tests, edits)


def answer(name, *edits):
    ANSWERS[name] = edits_of(name, PARTS[name][0]["what"], PARTS[name][0]["tests"], edits)


part("split", "a keyed permutation of each class, its first positions held out",
     [("test_dataset", "Dataset.*")],
     ("src/data/dataset.cpp", """\
        std::vector<bool> in_valid(n, false);
        for (std::uint64_t k = 0; k < held_out; ++k)
            in_valid[permuted_index(k, n, options.seed, RandomPurpose::split,
                                    static_cast<std::uint32_t>(c))] = true;
        for (std::uint64_t k = 0; k < n; ++k)
            (in_valid[k] ? valid : train).push_back(std::move(dataset.train[first + k]));
""", """\
        // Yours. `held_out` of the n samples from dataset.train[first] on go to `valid`, the others
        // to `train`, both in the order in which they come. Which ones: those that
        // permuted_index() gives for the positions below held_out, of this seed, purpose
        // RandomPurpose::split and `c` as the epoch.
"""))

part("reduced_decoding", "the smallest of a half, a quarter and an eighth that keeps the short side",
     [("test_image", "Decode.*")],
     ("src/data/jpeg_turbo.cpp", """\
    if (min_short_side > 0)
        for (const int smaller : {2, 4, 8}) {
            const int w = (probe.width + smaller - 1) / smaller, h = (probe.height + smaller - 1) / smaller;
            if (w >= min_short_side && h >= min_short_side) denominator = smaller, width = w, height = h;
        }
""", """\
    // Yours. Where nobody needs more than min_short_side pixels (0: all are needed), libjpeg can
    // decode at 1/2, 1/4 or 1/8 of width and height, rounded up, in much less time.
"""))

part("way_around", "a convolution of 1x1 and its norm where the shape changes",
     [("test_nn_networks", "*of_pytorch:*names_shapes*")],
     ("src/nn/architectures/residual_blocks.cpp", """\
    if (stride != 1 || net.layers()[static_cast<std::size_t>(x)].shape[0] != out_channels) {
        identity = net.conv2d(name + ".downsample.0", x, out_channels, 1, stride, 0);
        identity = net.batch_norm(name + ".downsample.1", identity);
    }
""", """\
    // Yours. Where `y` has another shape than `x`, `identity` is a convolution of its own: 1x1, of
    // this stride, with a norm. torchvision calls the two NAME.downsample.0 and NAME.downsample.1.
"""))

part("update_kernel", "four weights a thread: load, update_element, store",
     [("test_cuda_update", "*UpdateParameters*")],
     ("kernels/optimizer.cu", """\
        const Quad<float> g = load_gradient(segment, gradients, half_gradients, quad.at);
        Quad<float> w = load_quad(parameters + quad.at), m = load_quad(moment1 + quad.at), v{};
        if constexpr (has_second_moment(rule)) v = load_quad(moment2 + quad.at);
#pragma unroll
        for (int k = 0; k < 4; ++k) update_element<rule>(s, p, g.v[k], w.v[k], m.v[k], v.v[k]);
        store_quad(parameters + quad.at, w, quad.valid);
        store_quad(moment1 + quad.at, m, quad.valid);
        if constexpr (has_second_moment(rule)) store_quad(moment2 + quad.at, v, quad.valid);
""", """\
        Quad<float> w = load_quad(parameters + quad.at);
        // Yours. Load what update_element of rules/optimizer_rules.h asks for, call it for each of
        // the four, and store what has changed: weights, first moment and, if any, the second.
"""))

part("flat_cos", "two segments, and a row that names them",
     [("test_schedule", "Schedule.*")],
     ("src/schedule/presets.cpp", """\
Schedule flat_cos(std::int64_t steps, double max, double floor, double pct_start, double momentum) {
    const double end = static_cast<double>(steps);
    ScheduleBuilder builder(steps);
    builder.add(0, pct_start * end, Curve::linear, max, max, momentum);
    builder.add(pct_start * end, end, Curve::cosine, max, floor, momentum);
    return builder.finish(max, momentum);
}

""", """\
// Yours: `max` for pct_start of all steps, then a cosine to `floor`; fastai's fit_flat_cos.
// presets.h declares it. The row of the policy goes into `policies` in policy.cpp.

"""),
     ("src/schedule/policy.cpp", """\
    {"flat-cos",
     {0.75, {}, 1e5},
     false,
     nullptr,
     nullptr,
     [](const Request& r) {
         return flat_cos(r.steps(), r.max_lr, r.max_lr / *r.policy.final_div, *r.policy.pct_start,
                         r.momentum());
     }},
""", ""))

part("atomic_file", "sync, close, rename, sync the directory: in this order",
     [("test_file", "AtomicWrite.*")],
     ("src/core/file.cpp", """\
    check(retried([&] { return fs_.sync(file_); }));
    // An interrupted close has closed the file, and its bytes are on the disk by now.
    const int closed = fs_.close(std::exchange(file_, -1));
    check(closed == -EINTR ? 0 : closed);
    check(retried([&] { return fs_.rename(temporary_, path_); }));
    there_ = false;
    check(retried([&] { return fs_.sync_directory(parent_directory(path_)); }));
""", """\
    // Yours. The bytes are in temporary_, which file_ has open. Let them become path_ so that a
    // power loss at any moment leaves the old file or the new one, whole; forget nothing that may
    // fail, and leave there_ false once temporary_ is gone.
    check(retried([&] { return fs_.rename(temporary_, path_); }));
"""))

part("leaky_relu", "a rule that host and device compile, a loop and a kernel that call it, two builders each",
     [("test_leaky_relu", "LeakyRelu.*")],
     ("tests/CMakeLists.txt", " ranks scripts)\n", " ranks scripts exercises)\n"))

answer("leaky_relu",
       ("src/ops/kinds.h", "    BOTH(relu_backward, replaces)      ", """\
    BOTH(relu_backward, replaces)                                                                  \\
    /* x -> y                                                                                      \\
       See leaky_relu_rules.h. */                                                                  \\
    BOTH(leaky_relu, replaces)                                                                     \\
    /* dy, y -> dx                                                                                 \\
       The sign of y is that of x. */                                                              \\
    BOTH(leaky_relu_backward, replaces)"""),
       ("src/rules/leaky_relu_rules.h", "", """\
// Leaky ReLU: one rule for all back ends, compiled for host and device.
#pragma once

#include "rules/host_device.h"

namespace onecycle {

// PyTorch's default. NaN stays.
ONECYCLE_HD inline float leaky(float x) {
    return x > 0 ? x : 0.01f * x;
}
// dx of dy, by the sign of y.
ONECYCLE_HD inline float leaky_gradient(float dy, float y) {
    return y > 0 ? dy : 0.01f * dy;
}

}  // namespace onecycle
"""),
       ("src/ops/cpu/elementwise.cpp", '#include "ops/cpu/simd.h"\n',
        '#include "ops/cpu/simd.h"\n#include "rules/leaky_relu_rules.h"\n'),
       ("src/ops/cpu/elementwise.cpp", "ONECYCLE_CLONES\nvoid add_range(", """\
ONECYCLE_CLONES
void leaky_relu_range(const float* x, float* y, Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) y[i] = leaky(x[i]);
}

ONECYCLE_CLONES
void leaky_relu_backward_range(const float* dy, const float* y, float* dx, Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) dx[i] = leaky_gradient(dy[i], y[i]);
}

ONECYCLE_CLONES
void add_range("""),
       ("src/ops/cpu/elementwise.cpp", "BuiltOp make_add(", """\
BuiltOp make_leaky_relu(const OpDesc& given, const Context& context) {
    const OpDesc desc = checked(given, 1);
    const std::int64_t n = desc.inputs[0].elements();
    return op_from(desc, 0, [n, threads = context.threads](void* const* in, void* const* out, void*) {
        parallel_flat(threads, n, [&](Range range) {
            leaky_relu_range(floats(in[0]), floats_out(out[0]), range);
        });
    });
}

BuiltOp make_leaky_relu_backward(const OpDesc& given, const Context& context) {
    const OpDesc desc = checked(given, 2);
    const std::int64_t n = desc.inputs[0].elements();
    return op_from(desc, 0, [n, threads = context.threads](void* const* in, void* const* out, void*) {
        parallel_flat(threads, n, [&](Range range) {
            leaky_relu_backward_range(floats(in[0]), floats(in[1]), floats_out(out[0]), range);
        });
    });
}

BuiltOp make_add("""),
       ("kernels/elementwise.h", "// y = a + b\n", """\
// See leaky_relu_rules.h.
template <typename T>
void leaky_relu(T* y, const T* x, std::int64_t n, cudaStream_t stream);
template <typename T>
void leaky_relu_backward(T* dx, const T* dy, const T* y, std::int64_t n, cudaStream_t stream);

// y = a + b
"""),
       ("kernels/elementwise.cu", '#include "kernels/elementwise.h"\n',
        '#include "kernels/elementwise.h"\n\n#include "rules/leaky_relu_rules.h"\n'),
       ("kernels/elementwise.cu", "struct Add {\n", """\
struct LeakyRelu {
    __device__ float operator()(float x, float) const { return leaky(x); }
};
struct LeakyReluBackward {
    __device__ float operator()(float dy, float y) const { return leaky_gradient(dy, y); }
};
struct Add {
"""),
       ("kernels/elementwise.cu", "template <typename T>\nvoid add(", """\
template <typename T>
void leaky_relu(T* y, const T* x, std::int64_t n, cudaStream_t stream) {
    map("leaky_relu", y, x, x, n, LeakyRelu{}, stream);
}
template <typename T>
void leaky_relu_backward(T* dx, const T* dy, const T* y, std::int64_t n, cudaStream_t stream) {
    map("leaky_relu_backward", dx, dy, y, n, LeakyReluBackward{}, stream);
}
template <typename T>
void add("""),
       ("kernels/elementwise.cu", "    template void relu<T>(", """\
    template void leaky_relu<T>(T*, const T*, std::int64_t, cudaStream_t);                    \\
    template void leaky_relu_backward<T>(T*, const T*, const T*, std::int64_t, cudaStream_t); \\
    template void relu<T>("""),
       ("src/ops/cuda/elementwise.cpp", "BuiltOp make_add(", """\
BuiltOp make_leaky_relu(const OpDesc& given, const Context&) {
    const OpDesc desc = checked(given, 1);
    return with_float_type(desc, desc.inputs[0].type, [&]<typename T>() {
        const std::int64_t n = desc.inputs[0].stored_elements();
        return op_from(desc, 0, [n](void* const* in, void* const* out, void*, cudaStream_t stream) {
            leaky_relu(output<T>(out, 0), input<T>(in, 0), n, stream);
        });
    });
}

BuiltOp make_leaky_relu_backward(const OpDesc& given, const Context&) {
    const OpDesc desc = checked(given, 2);
    return with_float_type(desc, desc.inputs[0].type, [&]<typename T>() {
        const std::int64_t n = desc.inputs[0].stored_elements();
        return op_from(desc, 0, [n](void* const* in, void* const* out, void*, cudaStream_t stream) {
            leaky_relu_backward(output<T>(out, 0), input<T>(in, 0), input<T>(in, 1), n, stream);
        });
    });
}

BuiltOp make_add("""))
