// How a batch comes to the first layer: the host hands it over, or fills slots ahead, or it is made
// of images that stay on the device. Mixup and cutmix then change it where it lies.
#include "nn/compiler.h"

namespace onecycle {

namespace {

class Input {
  public:
    Input(ProgramBuilder& builder, const Layer& layer)
        : builder_(builder),
          program_(builder.program),
          key_(program_.key),
          layer_(layer),
          images_({key_.batch, layer.shape[1], layer.shape[2], layer.shape[0]}, Layout::plain, DType::u8) {}

    int add() {
        const bool training = key_.mode == Mode::train;
        const int x = training && key_.resident ? from_resident_images(*key_.resident)
                      : key_.input_slots        ? from_slots()
                                                : from_host();
        if (training && key_.mixup + key_.cutmix > 0) mix(x);
        return x;
    }

  private:
    int from_host() {
        const int x = builder_.activation("input", layer_);
        program_.images = builder_.add_buffer("images", images_, Space::input);
        program_.input_bytes = images_.bytes();
        builder_.add_op("normalize", Phase::forward, described(OpKind::normalize_images), {program_.images},
                        {x});
        if (key_.mode != Mode::predict) {
            program_.labels = behind_images("labels", key_.batch);
            program_.count = behind_images("count", 1);
        }
        return x;
    }

    int from_slots() {
        const int x = builder_.activation("input", layer_);
        const BatchLayout slot(images_.bytes(), static_cast<std::size_t>(key_.batch));
        const TensorDesc all({key_.input_slots, static_cast<std::int64_t>(slot.bytes)}, Layout::plain,
                             DType::u8);
        const int slots = builder_.add_buffer("slots", all, Space::input);
        program_.input_bytes = all.bytes();
        add_labels_and_count();
        OpDesc desc = described(OpKind::take_batch);
        desc.accumulation = key_.optimizer.accumulate;
        builder_.add_op("take batch", Phase::forward, desc, {slots, builder_.control()},
                        {x, program_.labels, program_.count});
        return x;
    }

    int from_resident_images(const ResidentInput& resident) {
        const auto bytes = [&](const char* name, std::size_t n, std::size_t offset) {
            const TensorDesc desc({static_cast<std::int64_t>(n)}, Layout::plain, DType::u8);
            return builder_.add_buffer(name, desc, Space::input, offset);
        };
        const int table = bytes("table", resident.table_bytes(), 0);
        const int pixels =
            bytes("pixels", static_cast<std::size_t>(resident.pixel_bytes), resident.pixels_at());
        program_.input_bytes = resident.bytes();
        add_labels_and_count();
        OpDesc desc = described(OpKind::augment_images);
        desc.order = {.seed = resident.seed,
                      .purpose = resident.order,
                      .samples = resident.samples,
                      .batch = key_.batch,
                      .batches_per_update = key_.batches_per_update(),
                      .shares = resident.shares};
        desc.view = resident.view;
        desc.largest_crop = resident.largest_crop;
        const int x = builder_.activation("input", layer_);
        builder_.add_op("augment", Phase::forward, desc, {table, pixels, builder_.control()},
                        {x, program_.labels, program_.count});
        return x;
    }

    void mix(int x) {
        builder_.labels2 = builder_.add_buffer("labels2", integers(key_.batch));
        builder_.label_weight = builder_.add_buffer("label_weight", {key_.batch});
        OpDesc desc{.kind = OpKind::mix_batch};
        desc.mixup = key_.mixup;
        desc.cutmix = key_.cutmix;
        desc.seed = key_.seed;
        builder_.add_op("mix", Phase::forward, desc, {x, program_.labels, program_.count, builder_.control()},
                        {x, builder_.labels2, builder_.label_weight});
    }

    OpDesc described(OpKind kind) const {
        OpDesc desc{.kind = kind};
        desc.mean = key_.mean;
        desc.stddev = key_.stddev;
        return desc;
    }

    static TensorDesc integers(std::int64_t n) { return TensorDesc({n}, Layout::plain, DType::i32); }

    // The device's own.
    void add_labels_and_count() {
        program_.labels = builder_.add_buffer("labels", integers(key_.batch));
        program_.count = builder_.add_buffer("count", integers(1));
    }

    // The host's, at the next multiple of 64 bytes.
    int behind_images(const char* name, std::int64_t n) {
        const std::size_t at = (program_.input_bytes + 63) / 64 * 64;
        program_.input_bytes = at + integers(n).bytes();
        return builder_.add_buffer(name, integers(n), Space::input, at);
    }

    ProgramBuilder& builder_;
    Program& program_;
    const ProgramKey& key_;
    const Layer& layer_;
    TensorDesc images_;  // of a batch
};

}  // namespace

int add_input(ProgramBuilder& builder, const Layer& layer) {
    return Input(builder, layer).add();
}

}  // namespace onecycle
