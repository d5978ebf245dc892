#include "ops/cases.h"

#include <cmath>

#include "ops/reference.h"
#include "rules/rng.h"

namespace onecycle::testing {

namespace {

std::vector<Layout> activation_layouts(std::int64_t channels) {
    std::vector<Layout> layouts = {Layout::plain, Layout::nhwc};
    if (channels % 8 == 0) layouts.push_back(Layout::nChw8c);
    if (channels % 16 == 0) layouts.push_back(Layout::nChw16c);
    return layouts;
}

TensorDesc with(TensorDesc t, Layout layout, DType type = DType::f32) {
    t.layout = layout;
    t.type = type;
    return t;
}

std::string label(const OpDesc& d, const TensorDesc& t, const std::string& more = "") {
    std::string text = std::string(name_of(d.kind)) + "_";
    for (int i = 0; i < t.rank; ++i) text += (i ? "x" : "") + std::to_string(t[i]);
    return text + "_" + name_of(t.layout) + more;
}

struct Window {
    std::int64_t n, i, h, w, o;
    int kernel, stride, padding;
};

TensorDesc pooled(const Window& c, std::int64_t channels) {
    return {c.n, channels, (c.h + 2 * c.padding - c.kernel) / c.stride + 1,
            (c.w + 2 * c.padding - c.kernel) / c.stride + 1};
}

void add_convolutions(std::vector<Case>& cases) {
    const Window windows[] = {
        {1, 3, 7, 11, 16, 7, 2, 3},   {3, 3, 13, 5, 64, 7, 2, 3},   {3, 16, 5, 7, 32, 3, 1, 1},
        {7, 16, 11, 13, 16, 3, 2, 1}, {3, 32, 5, 5, 48, 1, 2, 0},   {7, 64, 1, 1, 64, 1, 1, 0},
        {1, 5, 7, 5, 6, 3, 1, 1},     {7, 6, 5, 3, 5, 1, 1, 0},     {3, 24, 7, 7, 40, 3, 1, 1},
        {7, 8, 5, 11, 8, 3, 2, 1},    {3, 16, 5, 5, 10, 3, 1, 1},   {2, 3, 5, 5, 7, 3, 2, 1},
        {5, 64, 7, 7, 64, 3, 1, 1},   {3, 48, 13, 11, 16, 3, 1, 1}, {17, 32, 4, 4, 48, 3, 1, 1},
        {1, 16, 17, 19, 80, 3, 1, 1}, {13, 32, 2, 2, 48, 3, 1, 1},  {9, 48, 1, 3, 16, 3, 1, 1},
        {19, 16, 4, 4, 32, 3, 2, 1},
    };
    const auto backend = make_cpu_backend(1);
    for (const Window& c : windows)
        for (Layout layout : activation_layouts(c.i)) {
            OpDesc d{.kind = OpKind::conv2d, .kernel = c.kernel, .stride = c.stride, .padding = c.padding};
            const TensorDesc x = with({c.n, c.i, c.h, c.w}, layout);
            const TensorDesc plain{c.o, c.i, c.kernel, c.kernel};
            const TensorDesc w = with(plain, backend->parameter_layout(plain));
            d.inputs = {x, w};
            d.outputs = {with(pooled(c, c.o), Layout::any)};
            const TensorDesc y = backend->make(d).desc.outputs[0];
            const std::string to = std::string("_to_") + std::to_string(c.o) + "_k" +
                                   std::to_string(c.kernel) + "s" + std::to_string(c.stride);
            // Winograd's transforms have fractions in them.
            const auto add = [&] {
                const bool fractions = backend->make(d).implementation.find("winograd") != std::string::npos;
                cases.push_back({label(d, x, to), d, !fractions});
            };
            add();
            d.kind = OpKind::conv2d_backward_data;
            d.inputs = {y, w};
            d.outputs = {x};
            add();
            d.kind = OpKind::conv2d_backward_weights;
            d.inputs = {y, x};
            d.outputs = {w};
            add();
        }
}

void add_batch_norms(std::vector<Case>& cases) {
    const TensorDesc shapes[] = {{3, 16, 5, 7}, {7, 48, 3, 3}, {1, 5, 7, 5}, {2, 20, 11, 13}, {19, 32, 1, 1}};
    for (const TensorDesc& shape : shapes)
        for (Layout layout : activation_layouts(shape[1])) {
            const TensorDesc x = with(shape, layout), any = with(shape, Layout::any), vector{shape[1]};
            for (int flags = 0; flags < 8; ++flags) {
                OpDesc d{.relu = (flags & 1) != 0, .residual = (flags & 2) != 0};
                const std::string name = std::string(d.relu ? "_relu" : "") + (d.residual ? "_residual" : "");
                if (flags < 4) {
                    d.kind = OpKind::batch_norm;
                    d.inputs = {x, vector, vector};
                    if (d.residual) d.inputs.push_back(x);
                    d.outputs = {any, vector, vector};
                    cases.push_back({label(d, x, name), d, false});
                    d.kind = OpKind::batch_norm_inference;
                    d.inputs = {x, vector, vector, vector, vector};
                    if (d.residual) d.inputs.push_back(x);
                    d.outputs = {any};
                    cases.push_back({label(d, x, name), d, false});
                }
                d.kind = OpKind::batch_norm_backward;
                d.second_gradient = (flags & 4) != 0;
                d.inputs = {x, x, vector, vector, vector, vector};
                if (d.second_gradient) d.inputs.push_back(x);
                if (d.residual) d.inputs.push_back(x);
                d.outputs = {any, vector, vector};
                if (d.residual) d.outputs.push_back(any);
                const std::string full_name = name + (d.second_gradient ? "_dy2" : "");
                cases.push_back({label(d, x, full_name), d, false});
                d.kind = OpKind::batch_norm_gradients;
                d.outputs.erase(d.outputs.begin());
                cases.push_back({label(d, x, full_name), d, false});
                if (d.residual) continue;
                d.kind = OpKind::batch_norm_input_gradient;
                d.inputs.insert(d.inputs.begin() + 6, {vector, vector});
                d.outputs = {any};
                cases.push_back({label(d, x, full_name), d, false});
            }
            OpDesc d{.kind = OpKind::batch_norm_statistics, .inputs = {x}, .outputs = {vector, vector}};
            cases.push_back({label(d, x), d, false});
        }
}

void add_pools(std::vector<Case>& cases) {
    const Window windows[] = {{3, 16, 7, 11, 16, 3, 2, 1},
                              {1, 5, 8, 5, 5, 2, 2, 0},
                              {7, 24, 5, 6, 24, 3, 1, 1},
                              {2, 32, 13, 12, 32, 3, 2, 1}};
    for (const Window& c : windows)
        for (Layout layout : activation_layouts(c.i)) {
            OpDesc d{.kind = OpKind::max_pool, .kernel = c.kernel, .stride = c.stride, .padding = c.padding};
            const TensorDesc x = with({c.n, c.i, c.h, c.w}, layout), y = with(pooled(c, c.i), layout);
            const TensorDesc index = with(y, layout, DType::u8);
            d.inputs = {x};
            d.outputs = {with(y, Layout::any), with(y, Layout::any, DType::u8)};
            cases.push_back({label(d, x), d});
            d.kind = OpKind::max_pool_backward;
            d.inputs = {y, index};
            d.outputs = {x};
            cases.push_back({label(d, x), d});
            d.second_gradient = true;
            d.inputs.push_back(y);
            cases.push_back({label(d, x, "_dy2"), d});
        }
    const TensorDesc shapes[] = {{3, 16, 4, 4}, {1, 20, 2, 8}, {7, 40, 1, 1}, {2, 5, 7, 9}};
    for (const TensorDesc& shape : shapes)
        for (Layout layout : activation_layouts(shape[1])) {
            const TensorDesc x = with(shape, layout), y{shape[0], shape[1]};
            const bool exact = shape[2] != 7;  // else a mean of integers is no float
            OpDesc d{.kind = OpKind::global_average_pool, .inputs = {x}, .outputs = {y}};
            cases.push_back({label(d, x), d, exact});
            d = {.kind = OpKind::global_average_pool_backward, .inputs = {y}, .outputs = {x}};
            cases.push_back({label(d, x), d, exact});
            for (const int side : {1, 3, 7, 8}) {  // windows that overlap, too, and more of them than pixels
                const TensorDesc features{shape[0], shape[1] * side * side};
                d = {.kind = OpKind::adaptive_average_pool,
                     .inputs = {x},
                     .outputs = {features},
                     .kernel = side};
                cases.push_back({label(d, x, "_to_" + std::to_string(side)), d, false});
                d = {.kind = OpKind::adaptive_average_pool_backward,
                     .inputs = {features},
                     .outputs = {x},
                     .kernel = side};
                cases.push_back({label(d, x, "_to_" + std::to_string(side)), d, false});
            }
        }
}

// What fastai's head is made of, on features [N,C].
void add_features(std::vector<Case>& cases) {
    for (const TensorDesc& x : {TensorDesc{3, 5}, TensorDesc{7, 48}, TensorDesc{2, 67}}) {
        const TensorDesc vector{x[1]};
        OpDesc d{.kind = OpKind::batch_norm, .inputs = {x, vector, vector}, .outputs = {x, vector, vector}};
        cases.push_back({label(d, x), d, false});
        d.kind = OpKind::batch_norm_inference;
        d.inputs = {x, vector, vector, vector, vector};
        d.outputs = {x};
        cases.push_back({label(d, x), d, false});
        d.kind = OpKind::batch_norm_backward;
        d.inputs = {x, x, vector, vector, vector, vector};
        d.outputs = {x, vector, vector};
        cases.push_back({label(d, x), d, false});
        d = {.kind = OpKind::relu, .inputs = {x}, .outputs = {x}};
        cases.push_back({label(d, x), d});
        d = {.kind = OpKind::dropout, .inputs = {x, control_desc()}, .outputs = {x}};
        for (const double p : {0.0, 0.25, 0.5}) {
            d.dropout = p;
            d.seed = 7;
            d.dropout_layer = 1;
            const bool exact = p != 0.25;  // else a third more
            cases.push_back({label(d, x, "_p" + std::to_string(static_cast<int>(100 * p))), d, exact});
        }
    }
    // Enough for several threads.
    OpDesc d{.kind = OpKind::dropout, .inputs = {{64, 1024}, control_desc()}, .outputs = {{64, 1024}}};
    d.dropout = 0.5;
    cases.push_back({label(d, d.outputs[0]), d});
    const TensorDesc shapes[] = {{3, 16, 4, 4}, {1, 20, 2, 8}, {7, 40, 1, 1}, {2, 5, 7, 9}};
    for (const TensorDesc& shape : shapes)
        for (Layout layout : activation_layouts(shape[1])) {
            const TensorDesc x = with(shape, layout), y{shape[0], 2 * shape[1]};
            const TensorDesc index = with({shape[0], shape[1]}, Layout::plain, DType::i32);
            const bool exact = shape[2] != 7;  // else a mean of integers is no float
            d = {.kind = OpKind::concat_pool, .inputs = {x}, .outputs = {y, index}};
            cases.push_back({label(d, x), d, exact});
            d = {.kind = OpKind::concat_pool_backward, .inputs = {y, index}, .outputs = {x}};
            cases.push_back({label(d, x), d, exact});
        }
}

void add_elementwise(std::vector<Case>& cases) {
    const TensorDesc shape{3, 16, 5, 7};
    for (Layout layout : activation_layouts(16)) {
        const TensorDesc x = with(shape, layout), any = with(shape, Layout::any);
        OpDesc d{.kind = OpKind::add_channel_bias, .inputs = {x, {x[1]}}, .outputs = {x}};
        cases.push_back({label(d, x), d});
        d = {.kind = OpKind::channel_bias_gradient, .inputs = {x}, .outputs = {{x[1]}}};
        cases.push_back({label(d, x), d});
        d = {.kind = OpKind::relu, .inputs = {x}, .outputs = {any}};
        cases.push_back({label(d, x), d});
        d = {.kind = OpKind::relu_backward, .inputs = {x, x}, .outputs = {any}};
        cases.push_back({label(d, x), d});
        d = {.kind = OpKind::add, .inputs = {x, x}, .outputs = {any}};
        cases.push_back({label(d, x), d});
    }
    for (Layout layout : {Layout::plain, Layout::nhwc}) {
        OpDesc d{.kind = OpKind::normalize_images};
        d.mean = {0.485f, 0.456f, 0.406f};
        d.stddev = {0.229f, 0.224f, 0.225f};
        d.inputs = {with({3, 5, 7, 3}, Layout::plain, DType::u8)};
        d.outputs = {with({3, 3, 5, 7}, layout)};
        cases.push_back({label(d, d.outputs[0]), d, false});
    }
}

void add_heads(std::vector<Case>& cases) {
    const std::int64_t sizes[][3] = {{1, 5, 3}, {3, 37, 10}, {7, 64, 11}, {6, 512, 101}};  // N, K, O
    for (const auto& [n, k, o] : sizes) {
        const TensorDesc x{n, k}, w{o, k}, b{o}, y{n, o};
        OpDesc d{.kind = OpKind::linear, .inputs = {x, w, b}, .outputs = {y}};
        cases.push_back({label(d, w), d});
        d.bias = false;
        d.inputs.pop_back();
        cases.push_back({label(d, w, "_no_bias"), d});
        d = {.kind = OpKind::linear_backward_data, .inputs = {y, w}, .outputs = {x}};
        cases.push_back({label(d, w), d});
        d = {.kind = OpKind::linear_backward_weights, .inputs = {y, x}, .outputs = {w, b}};
        cases.push_back({label(d, w), d});
        d.bias = false;
        d.outputs.pop_back();
        cases.push_back({label(d, w, "_no_bias"), d});
    }
    for (int flags = 0; flags < 16; ++flags) {
        OpDesc d{.kind = OpKind::softmax_cross_entropy};
        d.label_smoothing = flags & 1 ? 0.1f : 0.0f;
        d.class_weights = (flags & 2) != 0;
        d.gradient = (flags & 4) != 0;
        d.label_pairs = (flags & 8) != 0;
        const TensorDesc logits{7, 11};
        d.inputs = {logits, with({7}, Layout::plain, DType::i32), with({1}, Layout::plain, DType::i32)};
        if (d.class_weights) d.inputs.push_back({11});
        if (d.label_pairs) d.inputs.insert(d.inputs.end(), {d.inputs[1], {7}});
        d.outputs = {result_desc()};
        if (d.gradient) d.outputs.push_back(logits);
        cases.push_back({label(d, logits, "_" + std::to_string(flags)), d, false});
    }
    OpDesc d{.kind = OpKind::softmax, .inputs = {{5, 13}}, .outputs = {{5, 13}}};
    cases.push_back({label(d, d.inputs[0]), d, false});
}

}  // namespace

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    add_convolutions(cases);
    add_batch_norms(cases);
    add_pools(cases);
    add_features(cases);
    add_elementwise(cases);
    add_heads(cases);
    return cases;
}

std::vector<Values> inputs_for(const Case& test, bool integers) {
    const OpDesc& d = test.desc;
    std::vector<Values> inputs;
    for (std::size_t i = 0; i < d.inputs.size(); ++i) {
        RandomStream random(42, RandomPurpose::demo_data, static_cast<std::uint32_t>(i), 0);
        const TensorDesc& t = d.inputs[i];
        Values values(static_cast<std::size_t>(t.elements()));
        for (double& v : values) {
            v = integers ? static_cast<double>(random.below(7)) - 3 : random.uniform(-1, 1);
            if (t.type == DType::u8) v = static_cast<double>(random.below(256));
            v = static_cast<double>(static_cast<float>(v));
        }
        inputs.push_back(values);
    }
    const auto positive = [](Values& values) {
        for (double& v : values) v = std::abs(v) + 0.5;
    };
    if (d.kind == OpKind::batch_norm_inference) positive(inputs[4]);
    if (d.kind == OpKind::batch_norm_backward || d.kind == OpKind::batch_norm_gradients ||
        d.kind == OpKind::batch_norm_input_gradient) {
        // Mean and variance of the batch, as forward would have left them.
        OpDesc forward{.kind = OpKind::batch_norm};
        forward.inputs = {d.inputs[1], d.inputs[4], d.inputs[5]};
        forward.outputs = {d.inputs[1], d.inputs[4], d.inputs[5]};
        const auto outputs = reference(forward, {inputs[1], inputs[4], inputs[5]});
        inputs[2] = outputs[1];
        inputs[3] = outputs[2];
    }
    if (d.kind == OpKind::max_pool_backward) {
        OpDesc forward = d;
        forward.kind = OpKind::max_pool;
        forward.inputs = {d.outputs[0]};
        forward.outputs = {d.inputs[0], d.inputs[1]};
        RandomStream random(7, RandomPurpose::demo_data, 0, 0);
        Values x(static_cast<std::size_t>(d.outputs[0].elements()));
        for (double& v : x) v = random.uniform(-1, 1);
        inputs[1] = reference(forward, {x})[1];
    }
    if (d.kind == OpKind::dropout) inputs[1] = control_values(123);
    if (d.kind == OpKind::concat_pool_backward)
        for (std::size_t i = 0; i < inputs[1].size(); ++i)
            inputs[1][i] =
                static_cast<double>(i * 5 % static_cast<std::size_t>(d.outputs[0][2] * d.outputs[0][3]));
    if (d.kind == OpKind::softmax_cross_entropy) {
        for (std::size_t i = 0; i < inputs[1].size(); ++i)
            inputs[1][i] = static_cast<double>(i * 5 % static_cast<std::size_t>(d.inputs[0][1]));
        inputs[2] = {5};  // of 7 rows
        if (d.class_weights) positive(inputs[3]);
        if (d.label_pairs) {
            Values &labels2 = *(inputs.end() - 2), &share = inputs.back();
            for (std::size_t i = 0; i < labels2.size(); ++i) {
                labels2[i] = static_cast<double>((i * 3 + 2) % static_cast<std::size_t>(d.inputs[0][1]));
                share[i] = static_cast<double>((i * 3 + 1) % 8) / 8;
            }
        }
    }
    return inputs;
}

}  // namespace onecycle::testing
