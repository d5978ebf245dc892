#include "train/checkpoint_writer.h"

#include <chrono>
#include <system_error>

#include "train/model_info.h"
#include "train/recorded_images.h"

namespace onecycle {

CheckpointWriter::CheckpointWriter(const State& state, RunFolder& run, LogSink log,
                                   std::span<const std::uint8_t> images)
    : run_(run),
      images_(images),
      log_(std::move(log)),
      loss_scale_(state.layout().compute == DType::f16),
      copy_(state),
      tensors_(state, copy_, true) {}

CheckpointWriter::~CheckpointWriter() {
    if (writing_.valid()) writing_.wait();
}

void CheckpointWriter::save(Request request) {
    finish();
    copy_.begin();
    const auto work = [this, request = std::move(request)] { return write(request); };
    try {
        writing_ = std::async(std::launch::async, work);
    } catch (const std::system_error&) {  // no thread to be had
        writing_ = std::async(std::launch::deferred, work);
        finish();
    }
}

CheckpointWriter::Written CheckpointWriter::write(const Request& request) {
    copy_.wait();
    Written written{.step = request.step};
    const StepControl& control = copy_.control();
    if (control.stop || control.update != request.step) return written;
    if (const std::string bad = tensors_.not_finite(); !bad.empty()) throw NotFinite{request.step - 1, bad};
    std::map<std::string, std::string> metadata = request.metadata;
    if (loss_scale_) {
        metadata["loss_scale"] = to_text(control.loss_scale);
        metadata["good_steps"] = std::to_string(control.good_steps);
    }
    std::vector<TensorSource> tensors = tensors_.sources(request.batches);
    tensors.push_back(
        {images_tensor, StoredType::u8, {std::ssize(images_)}, [this] { return std::as_bytes(images_); }});
    written.digest =
        run_.save(request.step, {std::move(tensors), std::move(metadata)}, request.best_step,
                  [&](LogLevel level, const std::string& line) { written.lines.emplace_back(level, line); });
    return written;
}

void CheckpointWriter::check() {
    if (writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) finish();
}

void CheckpointWriter::finish() {
    if (!writing_.valid()) return;
    const Written written = writing_.get();
    for (const auto& [level, line] : written.lines)
        if (log_) log_(level, line);
    if (written.digest.empty()) return;
    step_ = written.step;
    digest_ = written.digest;
}

}  // namespace onecycle
