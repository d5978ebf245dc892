// Training batches made on the device: the same samples and the same pixels as the CPU's loader
// makes.
#include <cstring>
#include <set>

#include "cuda/cuda.h"
#include "data/view_rule.h"
#include "onecycle/error.h"
#include "onecycle/image.h"
#include "rules/resident_image.h"
#include "rules/rng.h"

namespace onecycle::testing {

namespace {

constexpr AugmentPolicy policies[] = {AugmentPolicy::none, AugmentPolicy::flip, AugmentPolicy::standard,
                                      AugmentPolicy::strong};

Image random_image(int width, int height, std::uint64_t seed) {
    RandomStream random(seed, RandomPurpose::demo_data, 0, 0);
    Image image{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * 3)};
    for (std::uint8_t& byte : image.rgb) byte = static_cast<std::uint8_t>(random.below(256));
    return image;
}

// Images as a resident set keeps them; the label of each is 1000 more than its place.
struct Set {
    std::vector<Image> images;
    Values table, pixels;
    int largest_crop = 1;

    void add(Image image) {
        const ResidentImage entry{.offset = static_cast<std::int64_t>(pixels.size()),
                                  .width = image.width,
                                  .height = image.height,
                                  .label = 1000 + static_cast<std::int32_t>(images.size()),
                                  .unused = 0};
        unsigned char bytes[sizeof entry];
        std::memcpy(bytes, &entry, sizeof entry);
        table.insert(table.end(), bytes, bytes + sizeof entry);
        pixels.insert(pixels.end(), image.rgb.begin(), image.rgb.end());
        largest_crop = std::max(largest_crop, longest_crop(image.width, image.height));
        images.push_back(std::move(image));
    }
};

struct Batch {
    std::uint64_t seed = 5;
    int batch = 7, batches_per_update = 1;
    std::int64_t update = 0;
    int micro = 0;
    std::uint32_t first_epoch = 0;
};

OpDesc augment(const Set& set, const Batch& b, AugmentPolicy policy, int size, DType type = DType::f32,
               Layout layout = Layout::any) {
    OpDesc d{.kind = OpKind::augment_images,
             .order = {b.seed, RandomPurpose::shuffle, static_cast<std::int64_t>(set.images.size()), b.batch,
                       b.batches_per_update},
             .view = view_rule(policy),
             .largest_crop = set.largest_crop,
             .mean = {0.485f, 0.456f, 0.406f},
             .stddev = {0.229f, 0.224f, 0.225f}};
    const auto bytes = [](std::size_t n) {
        return TensorDesc({static_cast<std::int64_t>(n)}, Layout::plain, DType::u8);
    };
    d.inputs = {bytes(set.table.size()), bytes(set.pixels.size()), bytes(sizeof(StepControl))};
    d.outputs = {TensorDesc({b.batch, 3, size, size}, layout, type),
                 TensorDesc({b.batch}, Layout::plain, DType::i32),
                 TensorDesc({1}, Layout::plain, DType::i32)};
    return d;
}

Values control_of(const Batch& b) {
    StepControl control{};
    control.update = b.update;
    control.micro = b.micro;
    control.first_epoch = b.first_epoch;
    unsigned char bytes[sizeof control];
    std::memcpy(bytes, &control, sizeof control);
    return Values(bytes, bytes + sizeof control);
}

Outcome run(const Set& set, const Batch& b, const OpDesc& desc, const Machine& machine) {
    return run_op(desc, {set.table, set.pixels, control_of(b)}, machine);
}

// Which samples the batch must hold, without SampleOrder.
std::vector<std::int64_t> samples_of(const Set& set, const Batch& b) {
    const auto n = static_cast<std::int64_t>(set.images.size());
    const std::int64_t updates = n / b.batch / b.batches_per_update;  // an epoch has
    const auto epoch = static_cast<std::uint32_t>(b.first_epoch + b.update / updates);
    const std::int64_t first = (b.update % updates * b.batches_per_update + b.micro) * b.batch;
    std::vector<std::int64_t> samples;
    for (int i = 0; i < b.batch; ++i)
        samples.push_back(static_cast<std::int64_t>(permuted_index(static_cast<std::uint64_t>(first + i),
                                                                   static_cast<std::uint64_t>(n), b.seed,
                                                                   RandomPurpose::shuffle, epoch)));
    return samples;
}

std::uint32_t epoch_of(const Set& set, const Batch& b) {
    const auto n = static_cast<std::int64_t>(set.images.size());
    return static_cast<std::uint32_t>(b.first_epoch + b.update / (n / b.batch / b.batches_per_update));
}

// Every pixel is the CPU's, normalised in floats, bit for bit.
void expect_cpu_pixels(const Set& set, const Batch& b, AugmentPolicy policy, int size,
                       const Machine& machine) {
    const OpDesc desc = augment(set, b, policy, size);
    const Outcome outcome = run(set, b, desc, machine);
    EXPECT_TRUE(outcome.redzones_intact);
    EXPECT_TRUE(outcome.repeats);
    EXPECT_EQ(outcome.outputs[2], Values{static_cast<double>(b.batch)});
    const std::vector<std::int64_t> samples = samples_of(set, b);
    for (std::size_t i = 0; i < samples.size(); ++i) {
        ASSERT_EQ(outcome.outputs[1][i], 1000 + static_cast<double>(samples[i]));
        const Image& image = set.images[static_cast<std::size_t>(samples[i])];
        const Image view = training_view(image, policy, size, 0.875,
                                         {b.seed, epoch_of(set, b), static_cast<std::uint64_t>(samples[i])});
        for (int c = 0; c < 3; ++c)
            for (int p = 0; p < size * size; ++p) {
                const auto k = static_cast<std::size_t>(c);
                const float expected =
                    (static_cast<float>(view.rgb[static_cast<std::size_t>(3 * p + c)]) / 255.0f -
                     desc.mean[k]) /
                    desc.stddev[k];
                ASSERT_EQ(outcome.outputs[0][(i * 3 + k) * static_cast<std::size_t>(size * size) +
                                             static_cast<std::size_t>(p)],
                          static_cast<double>(expected))
                    << to_string(policy) << ", " << image.width << " x " << image.height << " to " << size
                    << ", row " << i << " channel " << c << " pixel " << p;
            }
    }
}

// Odd sizes, single pixels and rows, upright and lying, smaller and larger than the view.
Set odd_set() {
    Set set;
    for (const auto& [width, height] : {std::pair{61, 47},
                                        {1, 1},
                                        {1, 97},
                                        {97, 1},
                                        {2, 3},
                                        {53, 131},
                                        {131, 29},
                                        {37, 37},
                                        {24, 24},
                                        {7, 300}})
        set.add(random_image(width, height, static_cast<std::uint64_t>(width * 1000 + height)));
    return set;
}

TEST(CudaAugment, crops_have_the_pixels_of_the_cpu_for_every_shape_of_image) {
    const Machine machine = emulated_machine();
    const Set set = odd_set();
    for (AugmentPolicy policy : {AugmentPolicy::standard, AugmentPolicy::strong})
        for (int size : {24, 33, 1, 64})
            for (std::int64_t update : {0, 1, 12})
                expect_cpu_pixels(set, {.batch = 3, .update = update}, policy, size, machine);
}

TEST(CudaAugment, images_of_the_view_s_size_are_only_mirrored_by_flip_and_untouched_by_none) {
    const Machine machine = emulated_machine();
    Set set;
    for (std::uint64_t k = 0; k < 8; ++k) set.add(random_image(35, 35, k));
    for (AugmentPolicy policy : {AugmentPolicy::none, AugmentPolicy::flip})
        expect_cpu_pixels(set, {.batch = 7, .update = 3}, policy, 35, machine);
}

TEST(CudaAugment, large_reductions_take_smaller_tiles_and_give_the_same_pixels) {
    const Machine machine = emulated_machine();
    Set set;
    for (std::uint64_t k = 0; k < 3; ++k) set.add(random_image(700, k == 1 ? 2000 : 600, k));
    for (std::int64_t update = 0; update < 3; ++update)
        expect_cpu_pixels(set, {.batch = 1, .update = update}, AugmentPolicy::standard, 17, machine);
}

TEST(CudaAugment, batches_follow_the_counters_alone) {
    const Machine machine = emulated_machine();
    Set set;
    for (std::uint64_t k = 0; k < 23; ++k) set.add(random_image(2, 2, k));
    for (const Batch& b :
         {Batch{.batch = 1, .update = 40}, Batch{.batch = 3, .update = 6}, Batch{.batch = 3, .update = 7},
          Batch{.seed = 1ull << 60, .batch = 7, .update = 2},
          Batch{.batch = 3, .batches_per_update = 2, .update = 2, .micro = 1},
          Batch{.batch = 3, .batches_per_update = 2, .update = 3, .micro = 0},
          Batch{.batch = 3, .batches_per_update = 4, .update = 1, .micro = 2},
          Batch{.batch = 23, .update = 1000000}, Batch{.batch = 7, .update = 9, .first_epoch = 1u << 31}})
        expect_cpu_pixels(set, b, AugmentPolicy::standard, 3, machine);
}

TEST(CudaAugment, an_epoch_holds_no_sample_twice) {
    const Machine machine = emulated_machine();
    Set set;
    for (std::uint64_t k = 0; k < 23; ++k) set.add(random_image(1, 1, k));
    std::set<double> seen;
    for (int update = 0; update < 3; ++update) {
        const Batch b{.batch = 7, .update = update};
        const Outcome outcome = run(set, b, augment(set, b, AugmentPolicy::none, 1), machine);
        seen.insert(outcome.outputs[1].begin(), outcome.outputs[1].end());
    }
    EXPECT_EQ(seen.size(), 21u);
}

TEST(CudaAugment, every_type_and_layout_holds_the_f32_values_rounded) {
    const Machine machine = emulated_machine();
    const Set set = odd_set();
    const Batch b{.batch = 3, .update = 1};
    for (AugmentPolicy policy : {AugmentPolicy::standard, AugmentPolicy::strong}) {
        const Outcome full = run(set, b, augment(set, b, policy, 33), machine);
        for (DType type : float_types)
            for (Layout layout : {Layout::nhwc, Layout::nhwc8c}) {
                const Outcome outcome = run(set, b, augment(set, b, policy, 33, type, layout), machine);
                EXPECT_TRUE(outcome.redzones_intact);
                EXPECT_TRUE(outcome.repeats);
                EXPECT_EQ(outcome.outputs[0], stored_as(type, full.outputs[0]));
            }
    }
    EXPECT_EQ(run(set, b, augment(set, b, AugmentPolicy::standard, 33, DType::bf16), machine)
                  .desc.outputs[0]
                  .layout,
              Layout::nhwc8c);
}

TEST(CudaAugment, what_it_cannot_do_is_refused_when_it_is_made) {
    const Machine machine = emulated_machine();
    const Set set = odd_set();
    const auto refused = [&](const OpDesc& desc) { EXPECT_THROW(machine.backend->make(desc), Error); };
    OpDesc d = augment(set, {.batch = 11}, AugmentPolicy::standard, 24);
    refused(d);  // more than there are
    d = augment(set, {}, AugmentPolicy::standard, 24);
    d.inputs[0] = TensorDesc({24}, Layout::plain, DType::u8);
    refused(d);
    d = augment(set, {}, AugmentPolicy::standard, 24);
    d.largest_crop = 24 * 1000;
    refused(d);
    EXPECT_THROW(cpu_machine(1).backend->make(augment(set, {}, AugmentPolicy::standard, 24)), Error);
    EXPECT_FALSE(cpu_machine(1).backend->resident_images());
}

}  // namespace

}  // namespace onecycle::testing
