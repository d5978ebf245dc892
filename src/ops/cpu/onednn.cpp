#include "ops/cpu/onednn.h"

#include <cpuid.h>
#include <sys/mman.h>

#include <dnnl.hpp>
#include <new>

#include "onecycle/error.h"
#include "ops/cpu/parallel.h"

namespace onecycle::onednn {

namespace {

using Tag = dnnl::memory::format_tag;

const dnnl::engine& engine() {
    static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
    return cpu;
}

struct NamedTag {
    Layout layout;
    Tag activation, weights;  // undef: not for these
};
constexpr NamedTag named_tags[] = {
    {Layout::plain, Tag::nchw, Tag::oihw},
    {Layout::nhwc, Tag::nhwc, Tag::undef},
    {Layout::nChw8c, Tag::nChw8c, Tag::undef},
    {Layout::nChw16c, Tag::nChw16c, Tag::undef},
    {Layout::ohwi, Tag::undef, Tag::ohwi},
    {Layout::Ohwi8o, Tag::undef, Tag::Ohwi8o},
    {Layout::Ohwi16o, Tag::undef, Tag::Ohwi16o},
    {Layout::OIhw8i8o, Tag::undef, Tag::OIhw8i8o},
    {Layout::OIhw16i16o, Tag::undef, Tag::OIhw16i16o},
    {Layout::any, Tag::any, Tag::any},
};

dnnl::memory::desc memory_desc(const TensorDesc& t, Operand operand) {
    for (const NamedTag& named : named_tags)
        if (named.layout == t.layout) {
            const Tag tag = operand == operand_w ? named.weights : named.activation;
            if (tag == Tag::undef) break;
            return {{t[0], t[1], t[2], t[3]}, dnnl::memory::data_type::f32, tag};
        }
    throw Error(ErrorKind::device, "cannot describe a tensor to oneDNN", to_string(t),
                "this layout is not for such an operand");
}

// Blocks must divide the channels: a padded layout is not one of ours.
bool divides(const TensorDesc& t, Layout layout) {
    switch (layout) {
        case Layout::nChw8c:
            return t[1] % 8 == 0;
        case Layout::nChw16c:
            return t[1] % 16 == 0;
        case Layout::Ohwi8o:
            return t[0] % 8 == 0;
        case Layout::Ohwi16o:
            return t[0] % 16 == 0;
        case Layout::OIhw8i8o:
            return t[0] % 8 == 0 && t[1] % 8 == 0;
        case Layout::OIhw16i16o:
            return t[0] % 16 == 0 && t[1] % 16 == 0;
        default:
            return true;
    }
}

int argument(Pass pass, Operand operand) {
    switch (operand) {
        case operand_x:
            return pass == Pass::backward_data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC;
        case operand_w:
            return pass == Pass::backward_weights ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS;
        case operand_y:
            break;
    }
    return pass == Pass::forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST;
}

dnnl::primitive_attr scratchpad_from_user() {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attr;
}

// The primitive descriptor of a convolution: all that differs between oneDNN 2 and 3. Throws
// dnnl::error when there is no implementation.
dnnl::primitive_desc_base describe(Pass pass, const dnnl::memory::desc& x, const dnnl::memory::desc& w,
                                   const dnnl::memory::desc& y, int stride, int padding) {
    using Forward = dnnl::convolution_forward;
    using Data = dnnl::convolution_backward_data;
    using Weights = dnnl::convolution_backward_weights;
    const auto direct = dnnl::algorithm::convolution_direct;
    const auto kind = dnnl::prop_kind::forward_training;
    const dnnl::memory::dims s{stride, stride}, p{padding, padding};
    const dnnl::primitive_attr attr = scratchpad_from_user();
#if DNNL_VERSION_MAJOR >= 3
    const Forward::primitive_desc forward(engine(), kind, direct, x, w, y, s, p, p, attr);
    if (pass == Pass::forward) return forward;
    if (pass == Pass::backward_data)
        return Data::primitive_desc(engine(), direct, x, w, y, s, p, p, forward, attr);
    return Weights::primitive_desc(engine(), direct, x, w, y, s, p, p, forward, attr);
#else
    const Forward::primitive_desc forward({kind, direct, x, w, y, s, p, p}, attr, engine());
    if (pass == Pass::forward) return forward;
    if (pass == Pass::backward_data)
        return Data::primitive_desc({direct, x, w, y, s, p, p}, attr, engine(), forward);
    return Weights::primitive_desc({direct, x, w, y, s, p, p}, attr, engine(), forward);
#endif
}

// A primitive cuts its work for the number of threads it was made for and leaves parts undone when
// OpenMP starts fewer, as it does on a loaded machine with OMP_DYNAMIC=true.
class FixedNumberOfThreads {
  public:
    FixedNumberOfThreads() : dynamic_(omp_get_dynamic()) {
        if (dynamic_) omp_set_dynamic(0);
    }
    ~FixedNumberOfThreads() {
        if (dynamic_) omp_set_dynamic(1);
    }
    FixedNumberOfThreads(const FixedNumberOfThreads&) = delete;
    FixedNumberOfThreads& operator=(const FixedNumberOfThreads&) = delete;

  private:
    int dynamic_;
};

// What `make` makes with oneDNN, which takes memory for it, mostly code, and seldom looks whether it got
// it. Throws std::bad_alloc where there is no room. Pages that nobody touches cost nothing.
template <typename Call>
auto with_room(Call make) {
    constexpr std::size_t room = std::size_t{16} << 20;
    void* const pages =
        ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    ::munmap(pages, room);
    try {
        return make();
    } catch (const dnnl::error& error) {
        if (error.status == dnnl_out_of_memory) throw std::bad_alloc();
        throw;
    }
}

// A primitive with its memory objects, made once; a run only sets pointers.
class Execution {
  public:
    Execution(const_dnnl_primitive_desc_t desc, const std::array<int, 4>& arguments,
              const std::array<dnnl::memory::desc, 4>& operands, int count)
        : primitive_(with_room([&] { return dnnl::primitive(desc); })), stream_(engine()), count_(count) {
        for (int i = 0; i < count_; ++i) {
            const auto k = static_cast<std::size_t>(i);
            memory_[k] = dnnl::memory(operands[k], engine(), DNNL_MEMORY_NONE);
            arguments_[k] = {arguments[k], memory_[k].get()};
        }
    }

    void run(const std::array<void*, 4>& pointers) const {
        const FixedNumberOfThreads fixed;
        for (int i = 0; i < count_; ++i) {
            const auto k = static_cast<std::size_t>(i);
            dnnl_memory_set_data_handle(arguments_[k].memory, pointers[k]);
        }
        const dnnl_status_t status =
            dnnl_primitive_execute(primitive_.get(), stream_.get(), count_, arguments_.data());
        if (status == dnnl_out_of_memory) throw std::bad_alloc();
        if (status != dnnl_success)
            throw Error(ErrorKind::device, "oneDNN failed", "cpu", "a primitive did not run");
    }

  private:
    dnnl::primitive primitive_;
    dnnl::stream stream_;
    int count_;
    std::array<dnnl::memory, 4> memory_;
    std::array<dnnl_exec_arg_t, 4> arguments_{};
};

}  // namespace

struct Convolution::Impl {
    ConvolutionSpec spec;
    dnnl::primitive_desc_base desc;
    std::array<dnnl::memory::desc, 3> operands;
    std::string implementation;
};

std::optional<Convolution> Convolution::find(const ConvolutionSpec& spec) {
    for (const TensorDesc& t : spec.operands)
        if (!divides(t, t.layout)) return std::nullopt;
    const cpu::ThreadCount threads(spec.threads);
    auto impl = std::make_shared<Impl>();
    impl->spec = spec;
    try {
        impl->desc = with_room([&] {
            return describe(spec.pass, memory_desc(spec.operands[operand_x], operand_x),
                            memory_desc(spec.operands[operand_w], operand_w),
                            memory_desc(spec.operands[operand_y], operand_y), spec.stride, spec.padding);
        });
    } catch (const dnnl::error&) {
        return std::nullopt;
    }
    for (Operand operand : {operand_x, operand_w, operand_y})
        impl->operands[operand] = impl->desc.query_md(dnnl::query::exec_arg_md, argument(spec.pass, operand));
    impl->implementation = impl->desc.impl_info_str();
    Convolution convolution;
    convolution.impl_ = std::move(impl);
    return convolution;
}

const ConvolutionSpec& Convolution::spec() const {
    return impl_->spec;
}

std::string Convolution::implementation() const {
    return impl_->implementation;
}

bool Convolution::fast() const {
    // The others: "x64:gemm:jit" and "gemm:ref" copy the image into a matrix, "ref:any" is plain
    // loops.
    return impl_->implementation.rfind("jit", 0) == 0 || impl_->implementation.rfind("brg", 0) == 0;
}

std::size_t Convolution::scratchpad() const {
    return impl_->desc.query_md(dnnl::query::exec_arg_md, DNNL_ARG_SCRATCHPAD).get_size();
}

std::size_t Convolution::bytes(Operand operand) const {
    return impl_->operands[operand].get_size();
}

Layout Convolution::layout(Operand operand) const {
    TensorDesc t = impl_->spec.operands[operand];
    // A tensor with a dimension of one can have several names: the one asked for comes first.
    if (t.layout != Layout::any && memory_desc(t, operand) == impl_->operands[operand]) return t.layout;
    for (const NamedTag& named : named_tags) {
        const Tag tag = operand == operand_w ? named.weights : named.activation;
        if (tag == Tag::undef || tag == Tag::any || !divides(t, named.layout)) continue;
        t.layout = named.layout;
        if (memory_desc(t, operand) == impl_->operands[operand]) return named.layout;
    }
    return Layout::any;
}

bool Convolution::same_layout(const Convolution& other, Operand operand) const {
    return impl_->operands[operand] == other.impl_->operands[operand];
}

struct Runner::Impl {
    Execution execution;
};

Runner::Runner(const Convolution& convolution) {
    const Convolution::Impl& c = *convolution.impl_;
    const cpu::ThreadCount threads(c.spec.threads);
    const Pass pass = c.spec.pass;
    impl_ = std::make_unique<Impl>(
        Impl{Execution(c.desc.get(),
                       {argument(pass, operand_x), argument(pass, operand_w), argument(pass, operand_y),
                        DNNL_ARG_SCRATCHPAD},
                       {c.operands[operand_x], c.operands[operand_w], c.operands[operand_y],
                        c.desc.query_md(dnnl::query::exec_arg_md, DNNL_ARG_SCRATCHPAD)},
                       4)});
}
Runner::Runner(Runner&&) noexcept = default;
Runner::~Runner() = default;

void Runner::run(void* const* operands, void* scratchpad) const {
    impl_->execution.run({operands[operand_x], operands[operand_w], operands[operand_y], scratchpad});
}

struct Reorder::Impl {
    Execution execution;
    std::size_t scratchpad;
};

Reorder::Reorder(const TensorDesc& ours, const Convolution& convolution, Operand operand, bool to_ours) {
    const dnnl::memory::desc here = memory_desc(ours, operand), there = convolution.impl_->operands[operand];
    const dnnl::memory::desc &from = to_ours ? there : here, &to = to_ours ? here : there;
    const auto desc = with_room(
        [&] { return dnnl::reorder::primitive_desc(engine(), from, engine(), to, scratchpad_from_user()); });
    const dnnl::memory::desc scratch = desc.query_md(dnnl::query::exec_arg_md, DNNL_ARG_SCRATCHPAD);
    impl_ = std::make_unique<Impl>(
        Impl{Execution(desc.get(), {DNNL_ARG_FROM, DNNL_ARG_TO, DNNL_ARG_SCRATCHPAD}, {from, to, scratch}, 3),
             scratch.get_size()});
}
Reorder::Reorder(Reorder&&) noexcept = default;
Reorder::~Reorder() = default;

std::size_t Reorder::scratchpad() const {
    return impl_->scratchpad;
}

void Reorder::run(void* from, void* to, void* scratchpad) const {
    impl_->execution.run({from, to, scratchpad, nullptr});
}

void guard_instruction_set() {
#if defined(__x86_64__)
    // Some virtual machines advertise AMX tiles (leaf 7, EDX bit 24) and hide leaf 0x1D, which says
    // how large they are. oneDNN then configures no tiles and dies of an illegal instruction.
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1)) return;
    const bool has_palette =
        __get_cpuid_max(0, nullptr) >= 0x1D && __get_cpuid_count(0x1D, 0, &a, &b, &c, &d) && a != 0;
    if (!has_palette) dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);
#endif
}

std::string instruction_set() {
    switch (dnnl::get_effective_cpu_isa()) {
        case dnnl::cpu_isa::sse41:
            return "SSE4.1";
        case dnnl::cpu_isa::avx:
            return "AVX";
        case dnnl::cpu_isa::avx2:
            return "AVX2";
        case dnnl::cpu_isa::avx2_vnni:
            return "AVX2 with VNNI";
        case dnnl::cpu_isa::avx512_core:
            return "AVX-512";
        case dnnl::cpu_isa::avx512_core_vnni:
            return "AVX-512 with VNNI";
        case dnnl::cpu_isa::avx512_core_bf16:
            return "AVX-512 with VNNI and bf16";
        case dnnl::cpu_isa::avx512_core_amx:
            return "AVX-512 with AMX";
        default:
            return has_avx512() ? "AVX-512" : "x86-64";
    }
}

bool has_avx512() {
    // Each set's value holds the bits of those it includes.
    const auto bits = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
    const auto core = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
    return (bits & core) == core;
}

std::string version() {
    const dnnl_version_t* v = dnnl_version();
    return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

}  // namespace onecycle::onednn
