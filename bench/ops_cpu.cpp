// Each operation of the CPU back end at the shapes of ResNet34, at 64 px with batch 64 and at 224
// px with batch 8: GFLOP/s for convolutions, GB/s of ideal traffic (every operand once) for the
// rest. Beside them oneDNN's own batch norm and its own weight gradients, whose bits depend on the
// number of threads.
//   bench_ops_cpu --benchmark_filter=64px
#include <benchmark/benchmark.h>
#include <omp.h>

#include <dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "ops/ops.h"
#include "ops/resnet_convolutions.h"
#include "rules/control.h"

namespace {

using namespace onecycle;
using testing::ConvolutionShape;

struct Bench {
    std::string name;
    OpDesc desc;
    double flops = 0;
};

TensorDesc with(TensorDesc t, Layout layout, DType type = DType::f32) {
    t.layout = layout;
    t.type = type;
    return t;
}

void run(benchmark::State& state, const Backend& backend, const Bench& bench) {
    const auto device = make_cpu_device(0);
    Stream stream(*device);
    BuiltOp made = backend.make(bench.desc);
    std::vector<DeviceMemory> memory;
    std::vector<void*> in, out;
    double bytes = 0;
    for (const auto* list : {&made.desc.inputs, &made.desc.outputs})
        for (const TensorDesc& t : *list) {
            memory.emplace_back(*device, t.bytes());
            bytes += static_cast<double>(t.bytes());
            auto* p = reinterpret_cast<float*>(memory.back().data());
            if (t.type == DType::f32)
                for (std::int64_t i = 0; i < t.elements(); ++i)
                    p[i] = static_cast<float>(i * 7919 % 1000) / 500 - 1;
            (list == &made.desc.inputs ? in : out).push_back(p);
        }
    if (bench.desc.kind == OpKind::update_parameters || bench.desc.kind == OpKind::check_gradients) {
        static StepControl control{};
        control.schedule = {1, 1, {{0, 1, 0.01, 0.01, 0.9, 0.9, Curve::linear, Curve::linear}}};
        control.last_update = 1;
        static GradientCheck check{};
        check = {1, 1, 1, 1, -1};
        static BatchResult result{};
        if (bench.desc.kind == OpKind::check_gradients) {
            in[1] = &result;
            out[0] = &check;
        } else {
            in[1] = &check;
        }
        in[2] = &control;
    }
    DeviceMemory workspace(*device, made.workspace + 64);
    made.op->run(in.data(), out.data(), workspace.data(), stream);
    for (auto _ : state) made.op->run(in.data(), out.data(), workspace.data(), stream);
    const auto per_second = [&](double work) {
        return benchmark::Counter(work, benchmark::Counter::kIsIterationInvariantRate);
    };
    if (bench.flops > 0)
        state.counters["GFLOP/s"] = per_second(bench.flops / 1e9);
    else
        state.counters["GB/s"] = per_second(bytes / 1e9);
    state.SetLabel(made.implementation);
}

std::vector<Bench> convolutions(const Backend& backend, Layout blocked, std::int64_t size,
                                std::int64_t images) {
    std::vector<Bench> list;
    for (const ConvolutionShape& s : testing::resnet_convolutions(size, false)) {
        const std::int64_t out = (s.size + 2 * s.padding() - s.kernel) / s.stride + 1;
        const TensorDesc plain{s.out, s.in, s.kernel, s.kernel};
        const TensorDesc w = with(plain, backend.parameter_layout(plain));
        const TensorDesc x = with({images, s.in, s.size, s.size}, s.in == 3 ? Layout::plain : blocked);
        const TensorDesc y = with({images, s.out, out, out}, blocked);
        const double flops = 2.0 * static_cast<double>(y.elements() * s.in * s.kernel * s.kernel);
        const std::string name = std::to_string(s.in) + "->" + std::to_string(s.out) + "_k" +
                                 std::to_string(s.kernel) + "s" + std::to_string(s.stride) + "_" +
                                 std::to_string(s.size);
        OpDesc d{.kind = OpKind::conv2d, .kernel = s.kernel, .stride = s.stride, .padding = s.padding()};
        d.inputs = {x, w};
        d.outputs = {y};
        list.push_back({"forward/" + name, d, flops});
        if (s.in != 3) {
            d.kind = OpKind::conv2d_backward_data;
            d.inputs = {y, w};
            d.outputs = {x};
            list.push_back({"backward_data/" + name, d, flops});
        }
        d.kind = OpKind::conv2d_backward_weights;
        d.inputs = {y, x};
        d.outputs = {w};
        list.push_back({"backward_weights/" + name, d, flops});
    }
    return list;
}

std::vector<Bench> others(Layout blocked, std::int64_t size, std::int64_t images) {
    std::vector<Bench> list;
    const auto activation = [&](std::int64_t channels, std::int64_t divisor) {
        return with({images, channels, size / divisor, size / divisor}, blocked);
    };
    OpDesc d{.kind = OpKind::normalize_images};
    d.inputs = {with({images, size, size, 3}, Layout::plain, DType::u8)};
    d.outputs = {{images, 3, size, size}};
    list.push_back({"normalize_images", d});
    const struct {
        std::int64_t channels, divisor;
        const char* name;
    } stages[] = {
        {64, 2, "stem"}, {64, 4, "layer1"}, {128, 8, "layer2"}, {256, 16, "layer3"}, {512, 32, "layer4"}};
    for (const auto& stage : stages) {
        const TensorDesc x = activation(stage.channels, stage.divisor), v{stage.channels};
        OpDesc bn{.kind = OpKind::batch_norm, .relu = true};
        bn.inputs = {x, v, v};
        bn.outputs = {x, v, v};
        list.push_back({std::string("batch_norm_relu/") + stage.name, bn});
        OpDesc back{.kind = OpKind::batch_norm_backward, .relu = true};
        back.inputs = {x, x, v, v, v, v};
        back.outputs = {x, v, v};
        list.push_back({std::string("batch_norm_relu_backward/") + stage.name, back});
        if (stage.divisor == 2) continue;
        bn.residual = back.residual = back.second_gradient = true;
        bn.inputs.push_back(x);
        back.inputs.insert(back.inputs.end(), {x, x});
        back.outputs.push_back(x);
        list.push_back({std::string("batch_norm_add_relu/") + stage.name, bn});
        list.push_back({std::string("batch_norm_add_relu_backward/") + stage.name, back});
    }
    const TensorDesc x = activation(64, 2), y = activation(64, 4), index = with(y, blocked, DType::u8);
    OpDesc pool{.kind = OpKind::max_pool, .kernel = 3, .stride = 2, .padding = 1};
    pool.inputs = {x};
    pool.outputs = {y, index};
    list.push_back({"max_pool", pool});
    pool.kind = OpKind::max_pool_backward;
    pool.second_gradient = true;
    pool.inputs = {y, index, y};
    pool.outputs = {x};
    list.push_back({"max_pool_backward", pool});
    const TensorDesc last = activation(512, 32), features{images, 512};
    list.push_back(
        {"average_pool", {.kind = OpKind::global_average_pool, .inputs = {last}, .outputs = {features}}});
    list.push_back({"average_pool_backward",
                    {.kind = OpKind::global_average_pool_backward, .inputs = {features}, .outputs = {last}}});
    const TensorDesc w{1000, 512}, b{1000}, logits{images, 1000};
    const double flops = 2.0 * 1000 * 512 * static_cast<double>(images);
    list.push_back(
        {"linear", {.kind = OpKind::linear, .inputs = {features, w, b}, .outputs = {logits}}, flops});
    list.push_back({"linear_backward_data",
                    {.kind = OpKind::linear_backward_data, .inputs = {logits, w}, .outputs = {features}},
                    flops});
    list.push_back(
        {"linear_backward_weights",
         {.kind = OpKind::linear_backward_weights, .inputs = {logits, features}, .outputs = {w, b}},
         flops});
    return list;
}

std::vector<Bench> updates() {
    // The parameters of ResNet34, as one tensor.
    const std::int64_t n = 21'797'760;
    const TensorDesc flat{n};
    const auto bytes = [](std::size_t size) {
        return TensorDesc({static_cast<std::int64_t>(size)}, Layout::plain, DType::u8);
    };
    OpDesc d{.kind = OpKind::check_gradients};
    d.parameters = {{.offset = 0, .elements = n}};
    d.inputs = {flat, bytes(sizeof(BatchResult)), bytes(sizeof(StepControl))};
    d.outputs = {bytes(sizeof(GradientCheck))};
    std::vector<Bench> list = {{"check_gradients", d}};
    d.kind = OpKind::update_parameters;
    d.inputs = {flat, bytes(sizeof(GradientCheck)), bytes(sizeof(StepControl))};
    d.outputs = {flat, flat};
    list.push_back({"update_sgd", d});
    d.optimizer.kind = OptimizerKind::adamw;
    d.outputs.push_back(flat);
    list.push_back({"update_adamw", d});
    return list;
}

// Outlives every primitive descriptor.
const dnnl::engine& engine() {
    static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
    return cpu;
}

// oneDNN's own: a primitive with its descriptors, on freshly filled memory.
void run_onednn(benchmark::State& state, const dnnl::primitive_desc_base& desc,
                const std::vector<int>& arguments, double flops, double bytes) {
    dnnl::stream stream(engine());
    std::unordered_map<int, dnnl::memory> operands;
    for (int a : arguments) {
        dnnl::memory m(desc.query_md(dnnl::query::exec_arg_md, a), engine());
        auto* p = static_cast<float*>(m.get_data_handle());
        for (std::size_t i = 0; i < m.get_desc().get_size() / 4; ++i)
            p[i] = static_cast<float>(i % 1000) / 500 - 1;
        operands.emplace(a, m);
    }
    const dnnl::primitive primitive(desc.get());
    primitive.execute(stream, operands);
    for (auto _ : state) primitive.execute(stream, operands);
    const auto per_second = [&](double work) {
        return benchmark::Counter(work, benchmark::Counter::kIsIterationInvariantRate);
    };
    if (flops > 0)
        state.counters["GFLOP/s"] = per_second(flops / 1e9);
    else
        state.counters["GB/s"] = per_second(bytes / 1e9);
    state.SetLabel(desc.impl_info_str());
}

#if DNNL_VERSION_MAJOR < 3
void add_onednn(const std::string& prefix, Layout blocked, std::int64_t size, std::int64_t images) {
    using Tag = dnnl::memory::format_tag;
    const auto f32 = dnnl::memory::data_type::f32;
    const Tag tag = blocked == Layout::nChw16c ? Tag::nChw16c : Tag::nChw8c;
    for (const ConvolutionShape& s : testing::resnet_convolutions(size, false)) {
        const std::int64_t out = (s.size + 2 * s.padding() - s.kernel) / s.stride + 1;
        const dnnl::memory::desc x({images, s.in, s.size, s.size}, f32, s.in == 3 ? Tag::nchw : tag);
        const dnnl::memory::desc w({s.out, s.in, s.kernel, s.kernel}, f32, Tag::any);
        const dnnl::memory::desc y({images, s.out, out, out}, f32, tag);
        const dnnl::memory::dims stride{s.stride, s.stride}, padding{s.padding(), s.padding()};
        const auto direct = dnnl::algorithm::convolution_direct;
        const dnnl::convolution_forward::primitive_desc forward(
            {dnnl::prop_kind::forward_training, direct, x, w, y, stride, padding, padding}, engine());
        const dnnl::convolution_backward_weights::primitive_desc backward(
            {direct, x, w, y, stride, padding, padding}, engine(), forward);
        const double flops =
            2.0 * static_cast<double>(images * s.out * out * out * s.in * s.kernel * s.kernel);
        benchmark::RegisterBenchmark(
            (prefix + "onednn/backward_weights/" + std::to_string(s.in) + "->" + std::to_string(s.out) +
             "_k" + std::to_string(s.kernel) + "s" + std::to_string(s.stride) + "_" + std::to_string(s.size))
                .c_str(),
            [=](benchmark::State& state) {
                run_onednn(state, backward, {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS}, flops,
                           0);
            })
            ->UseRealTime();
    }
    const dnnl::memory::desc x({images, 64, size / 4, size / 4}, f32, tag);
    const auto flags = dnnl::normalization_flags::use_scale_shift | dnnl::normalization_flags::fuse_norm_relu;
    const dnnl::batch_normalization_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, x, 1e-5f, flags}, engine());
    const dnnl::batch_normalization_backward::primitive_desc backward(
        {dnnl::prop_kind::backward, x, x, 1e-5f, flags}, engine(), forward);
    const double bytes = static_cast<double>(x.get_size());
    benchmark::RegisterBenchmark((prefix + "onednn/batch_norm_relu/layer1").c_str(),
                                 [=](benchmark::State& state) {
                                     run_onednn(state, forward,
                                                {DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_MEAN, DNNL_ARG_VARIANCE,
                                                 DNNL_ARG_SCALE_SHIFT, DNNL_ARG_WORKSPACE},
                                                0, 2 * bytes);
                                 })
        ->UseRealTime();
    benchmark::RegisterBenchmark(
        (prefix + "onednn/batch_norm_relu_backward/layer1").c_str(),
        [=](benchmark::State& state) {
            run_onednn(state, backward,
                       {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_SRC, DNNL_ARG_MEAN, DNNL_ARG_VARIANCE,
                        DNNL_ARG_SCALE_SHIFT, DNNL_ARG_DIFF_SCALE_SHIFT, DNNL_ARG_WORKSPACE},
                       0, 3 * bytes);
        })
        ->UseRealTime();
}
#else
void add_onednn(const std::string&, Layout, std::int64_t, std::int64_t) {}
#endif

}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    const auto backend = make_cpu_backend(0);
    const Layout blocked =
        backend->parameter_layout({64, 64, 3, 3}) == Layout::OIhw16i16o ? Layout::nChw16c : Layout::nChw8c;
    const auto add = [&](const std::string& prefix, const std::vector<Bench>& list) {
        for (const Bench& bench : list)
            benchmark::RegisterBenchmark((prefix + bench.name).c_str(), [&backend,
                                                                         bench](benchmark::State& state) {
                run(state, *backend, bench);
            })->UseRealTime();
    };
    const struct { std::int64_t size, images; } settings[] = {{64, 64}, {224, 8}};
    for (const auto& [size, images] : settings) {
        const std::string prefix = std::to_string(size) + "px/";
        add(prefix, convolutions(*backend, blocked, size, images));
        add(prefix, others(blocked, size, images));
        add_onednn(prefix, blocked, size, images);
    }
    add("", updates());
    benchmark::RunSpecifiedBenchmarks();
}
