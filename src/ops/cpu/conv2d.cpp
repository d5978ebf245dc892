// Convolutions by oneDNN in its blocked layouts; weight gradients in blocked layouts are our own
// (conv2d_weight_gradient.cpp), which leaves those of the stem and of odd numbers of channels.
//
// Equal bits for any number of threads: oneDNN's forward and backward-data passes compute every
// output element in one order, but for windows of one pixel with more than eight threads an image
// (most_threads()). Its weight gradients split the sum over the minibatch among threads, and its
// matrix-product fallback splits anything. Those are run in chunks of images, the chunks decided by
// the shape and each computed by one thread; partial weight gradients are added in a fixed order.
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "ops/cpu/builders.h"
#include "ops/cpu/conv2d_small.h"
#include "ops/cpu/conv2d_weight_gradient.h"
#include "ops/cpu/conv2d_winograd.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/simd.h"

namespace onecycle::cpu {

namespace {

using onednn::Convolution;
using onednn::ConvolutionSpec;
using onednn::Operand;
using onednn::operand_w;
using onednn::operand_x;
using onednn::operand_y;
using onednn::Pass;
using onednn::Reorder;
using onednn::Runner;

constexpr std::array<Operand, 3> all_operands = {operand_x, operand_w, operand_y};

Operand output_of(Pass pass) {
    return pass == Pass::forward ? operand_y : pass == Pass::backward_data ? operand_x : operand_w;
}

// Where each operand comes from in the contract: forward x, w -> y; backward_data y, w -> x;
// backward_weights y, x -> w.
TensorDesc& operand_of(OpDesc& desc, Pass pass, Operand operand) {
    if (operand == output_of(pass)) return desc.outputs[0];
    const bool first = operand == (pass == Pass::forward ? operand_x : operand_y);
    return desc.inputs[first ? 0 : 1];
}

ConvolutionSpec with_layouts(ConvolutionSpec spec, Layout x, Layout w, Layout y) {
    spec.operands[operand_x].layout = x;
    spec.operands[operand_w].layout = w;
    spec.operands[operand_y].layout = y;
    return spec;
}

ConvolutionSpec with_images(ConvolutionSpec spec, std::int64_t images) {
    spec.operands[operand_x].dims[0] = spec.operands[operand_y].dims[0] = images;
    return spec;
}

// Weights may have a layout without a name only where they are copied anyway.
bool named(const Convolution& c) {
    return c.layout(operand_x) != Layout::any && c.layout(operand_y) != Layout::any &&
           (c.spec().pass == Pass::backward_data || c.layout(operand_w) != Layout::any);
}

// The layouts given if oneDNN is fast with them, else the layouts it prefers, else whatever works.
Convolution choose(const OpDesc& desc, const ConvolutionSpec& given) {
    std::optional<Convolution> slow;
    const ConvolutionSpec candidates[] = {
        given,
        with_layouts(given, Layout::any, Layout::any, Layout::any),
        with_layouts(given, Layout::plain, Layout::any, Layout::any),
        with_layouts(given, Layout::plain, Layout::plain, Layout::plain),
    };
    for (const ConvolutionSpec& candidate : candidates) {
        std::optional<Convolution> found = Convolution::find(candidate);
        if (!found || !named(*found)) continue;
        if (found->fast()) return *found;
        if (!slow) slow = found;
    }
    require(slow.has_value(), desc, "oneDNN cannot compute it");
    return *slow;
}

// The AVX-512 kernels of oneDNN for windows of one pixel cut the sum over the channels
// elsewhere when there are more than eight threads an image (`8 * mb / nthr >= 1` in its
// jit_avx512_common_1x1_conv_kernel.cpp): other bits. They never get so many.
int most_threads(const OpDesc& desc, std::int64_t images, int threads) {
    constexpr std::int64_t an_image = 8;
    return desc.kernel > 1 ? threads : static_cast<int>(std::min<std::int64_t>(threads, an_image * images));
}

// How many chunks the minibatch is cut into: enough for many threads, few for large weights,
// because each chunk but the first costs a buffer of their size.
std::int64_t weight_gradient_chunks(std::int64_t images, std::int64_t weights) {
    const std::int64_t most = weights <= 64 * 1024 ? 16 : weights <= 1024 * 1024 ? 8 : 4;
    return std::min(images, most);
}

ONECYCLE_CLONES
void add_partials(float* sum, const float* partials, std::int64_t count, std::int64_t stride, Range range) {
    for (std::int64_t c = 0; c < count; ++c)
        for (std::int64_t i = range.begin; i < range.end; ++i) sum[i] += partials[c * stride + i];
}

class ConvolutionOp final : public Op {
  public:
    ConvolutionOp(OpDesc& desc, Pass pass, const Context& context)
        : pass_(pass),
          images_(operand_of(desc, pass, operand_x)[0]),
          threads_(most_threads(desc, images_, context.threads)) {
        ConvolutionSpec given;
        given.pass = pass;
        for (Operand o : all_operands) given.operands[o] = operand_of(desc, pass, o);
        given.stride = desc.stride;
        given.padding = desc.padding;
        given.threads = threads_;
        weights_ = given.operands[operand_w].elements();
        // Backward data reads weights whose blocks are transposed: they are copied in any case.
        ConvolutionSpec wanted = given;
        if (pass == Pass::backward_data) wanted.operands[operand_w].layout = Layout::any;

        const Convolution whole = choose(desc, wanted);
        const ConvolutionSpec fixed = with_layouts(
            wanted, whole.layout(operand_x),
            pass == Pass::backward_data ? Layout::any : whole.layout(operand_w), whole.layout(operand_y));
        const Convolution weights = plan(desc, whole, fixed);

        for (Operand o : all_operands) {
            TensorDesc& ours = operand_of(desc, pass, o);
            const Convolution& wants = o == operand_w ? weights : whole;
            if (ours.layout == Layout::any) ours.layout = wants.layout(o);
            if (ours.layout == wants.layout(o)) continue;
            const bool to_ours = o == output_of(pass);
            copies_[o].emplace(Copy{Reorder(ours, wants, o, to_ours), take(wants.bytes(o))});
            copy_scratchpad_ = std::max(copy_scratchpad_, copies_[o]->reorder.scratchpad());
            if (o != operand_w) ++reorders_;
        }
        copy_scratchpad_at_ = take(copy_scratchpad_);
        implementation_ = whole.implementation();
        if (chunks_ > 1) implementation_ += ", " + std::to_string(chunks_) + " chunks";
    }

    std::size_t workspace() const { return workspace_; }
    int reorders() const { return reorders_; }
    const std::string& implementation() const { return implementation_; }

    void run(void* const* inputs, void* const* outputs, void* workspace, Stream&) override {
        const ThreadCount threads(threads_);
        auto* const work = static_cast<std::byte*>(workspace);
        const bool forward = pass_ == Pass::forward;
        std::array<void*, 3> operands{};
        operands[output_of(pass_)] = outputs[0];
        operands[forward ? operand_x : operand_y] = inputs[0];
        operands[pass_ == Pass::backward_weights ? operand_x : operand_w] = inputs[1];

        const Operand output = output_of(pass_);
        for (Operand o : all_operands)
            if (copies_[o]) {
                void* const copy = work + copies_[o]->at;
                if (o != output) copies_[o]->reorder.run(operands[o], copy, work + copy_scratchpad_at_);
                operands[o] = copy;
            }
        if (chunks_ == 1)
            runners_[0].run(operands.data(), work + scratchpad_at_);
        else
            run_chunks(operands, work);
        if (copies_[output])
            copies_[output]->reorder.run(operands[output], outputs[0], work + copy_scratchpad_at_);
    }

  private:
    struct Copy {
        Reorder reorder;
        std::size_t at;
    };

    std::size_t take(std::size_t bytes) {
        const std::size_t at = workspace_;
        workspace_ += aligned(bytes);
        return at;
    }

    // Decides between oneDNN's threads and chunks, and makes the runners. Returns the convolution
    // that says in which layout weights are wanted.
    Convolution plan(const OpDesc& desc, const Convolution& whole, ConvolutionSpec fixed) {
        if (pass_ != Pass::backward_weights && whole.fast()) {
            runners_.emplace_back(whole);
            scratchpad_at_ = take(whole.scratchpad());
            return whole;
        }
        chunks_ = pass_ == Pass::backward_weights ? weight_gradient_chunks(images_, weights_) : images_;
        fixed.threads = 1;
        const std::int64_t fewer = images_ / chunks_, more = fewer + (images_ % chunks_ != 0);
        const std::array<Convolution, 2> sizes = {find(desc, with_images(fixed, fewer)),
                                                  find(desc, with_images(fixed, more))};
        require(sizes[0].same_layout(sizes[1], operand_w), desc, "oneDNN wants weights in two layouts");
        for (Operand o : {operand_x, operand_y})
            image_bytes_[o] = sizes[0].bytes(o) / static_cast<std::size_t>(fewer);
        for (int t = 0; t < threads_; ++t)
            for (const Convolution& size : sizes) runners_.emplace_back(size);
        scratchpad_ = aligned(std::max(sizes[0].scratchpad(), sizes[1].scratchpad()));
        scratchpad_at_ = take(scratchpad_ * static_cast<std::size_t>(threads_));
        if (pass_ == Pass::backward_weights)
            partials_at_ = take(static_cast<std::size_t>((chunks_ - 1) * weights_) * sizeof(float));
        return sizes[0];
    }

    static Convolution find(const OpDesc& desc, const ConvolutionSpec& spec) {
        const std::optional<Convolution> found = Convolution::find(spec);
        require(found.has_value(), desc, "oneDNN cannot compute it");
        return *found;
    }

    void run_chunks(const std::array<void*, 3>& operands, std::byte* work) {
        auto* const partials = reinterpret_cast<float*>(work + partials_at_);
        parallel_for(threads_, chunks_, [&](std::int64_t c) {
            const Range range = part_of(images_, c, chunks_);
            const auto thread = static_cast<std::size_t>(omp_get_thread_num());
            std::array<void*, 3> mine = operands;
            for (Operand o : {operand_x, operand_y})
                mine[o] = static_cast<std::byte*>(operands[o]) +
                          static_cast<std::size_t>(range.begin) * image_bytes_[o];
            if (pass_ == Pass::backward_weights && c > 0) mine[operand_w] = partials + (c - 1) * weights_;
            const bool more = range.end - range.begin > images_ / chunks_;
            runners_[2 * thread + (more ? 1 : 0)].run(mine.data(),
                                                      work + scratchpad_at_ + thread * scratchpad_);
        });
        if (pass_ == Pass::backward_weights)
            parallel_flat(threads_, weights_, [&](Range range) {
                add_partials(floats_out(operands[operand_w]), partials, chunks_ - 1, weights_, range);
            });
    }

    Pass pass_;
    std::int64_t images_;
    int threads_;
    std::int64_t weights_ = 0, chunks_ = 1;
    std::vector<Runner> runners_;  // one; with chunks two a thread, for the smaller and the larger chunks
    std::array<std::optional<Copy>, 3> copies_;
    std::array<std::size_t, 3> image_bytes_{};
    std::size_t workspace_ = 0, scratchpad_ = 0, scratchpad_at_ = 0, partials_at_ = 0;
    std::size_t copy_scratchpad_ = 0, copy_scratchpad_at_ = 0;
    int reorders_ = 0;
    std::string implementation_;
};

void check_shapes(const OpDesc& desc, const TensorDesc& x, const TensorDesc& w, const TensorDesc& y) {
    for (const TensorDesc* t : {&x, &w, &y})
        require(t->rank == 4 && t->type == DType::f32, desc, "operands are f32 of rank 4");
    require(x[0] == y[0] && x[1] == w[1] && y[1] == w[0], desc,
            "images or channels differ: x " + to_string(x) + ", w " + to_string(w) + ", y " + to_string(y));
    require(w[2] == desc.kernel && w[3] == desc.kernel, desc,
            "weights " + to_string(w) + " are not of the kernel's size");
    for (int d : {2, 3})
        require(y[d] == (x[d] + 2 * desc.padding - desc.kernel) / desc.stride + 1 && y[d] > 0, desc,
                "x " + to_string(x) + " does not give y " + to_string(y));
}

BuiltOp make(const OpDesc& desc, Pass pass, const Context& context) {
    require_operands(desc, 2, 1);
    BuiltOp made;
    made.desc = desc;
    check_shapes(desc, operand_of(made.desc, pass, operand_x), operand_of(made.desc, pass, operand_w),
                 operand_of(made.desc, pass, operand_y));
    if (prefers_winograd(desc))
        return pass == Pass::backward_weights ? make_winograd_weight_gradient(desc, context)
                                              : make_winograd_forward(desc, context);
    if (pass != Pass::backward_weights && has_small_planes(desc))
        return make_small_convolution(desc, context);
    if (pass == Pass::backward_weights && has_own_weight_gradient(desc))
        return make_own_weight_gradient(desc, context);
    auto op = std::make_unique<ConvolutionOp>(made.desc, pass, context);
    made.workspace = op->workspace();
    made.implementation = op->implementation();
    made.reorders = op->reorders();
    made.op = std::move(op);
    return made;
}

}  // namespace

BuiltOp make_conv2d(const OpDesc& desc, const Context& context) {
    return make(desc, Pass::forward, context);
}
BuiltOp make_conv2d_backward_data(const OpDesc& desc, const Context& context) {
    return make(desc, Pass::backward_data, context);
}
BuiltOp make_conv2d_backward_weights(const OpDesc& desc, const Context& context) {
    return make(desc, Pass::backward_weights, context);
}

}  // namespace onecycle::cpu
