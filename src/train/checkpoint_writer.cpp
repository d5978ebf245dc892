#include "train/checkpoint_writer.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#include "onecycle/error.h"
#include "train/model_info.h"
#include "train/recorded_images.h"

namespace onecycle {

namespace {

constexpr std::chrono::seconds first_pause{1}, longest_pause{300};

}  // namespace

CheckpointWriter::CheckpointWriter(const State& state, RunFolder& run, LogSink log,
                                   std::span<const std::uint8_t> images, SaveErrors errors)
    : run_(run),
      images_(images),
      log_(std::move(log)),
      loss_scale_(state.layout().compute == DType::f16),
      copy_(state),
      tensors_(state, copy_, true),
      errors_(errors) {}

CheckpointWriter::~CheckpointWriter() {
    if (writing_.valid()) writing_.wait();
}

void CheckpointWriter::save(Request request) {
    settle();
    copy_.begin();
    request_ = std::move(request);
    start();
}

void CheckpointWriter::start() {
    const auto work = [this, request = *request_] { return write(request); };
    try {
        writing_ = std::async(std::launch::async, work);
    } catch (const std::system_error&) {  // no thread to be had
        writing_ = std::async(std::launch::deferred, work);
        settle();
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
    if (writing_.valid()) {
        if (writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) settle();
    } else if (request_ && std::chrono::steady_clock::now() >= try_at_) {
        start();
    }
}

void CheckpointWriter::finish() {
    settle();
    if (!request_) return;
    errors_ = SaveErrors::stop;  // there is no later
    start();
    settle();
}

void CheckpointWriter::settle() {
    if (!writing_.valid()) return;
    Written written;
    try {
        written = writing_.get();
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::io && errors_ == SaveErrors::go_on) return keep_for_later(error);
        request_.reset();
        throw;
    } catch (...) {
        request_.reset();
        throw;
    }
    request_.reset();
    for (const auto& [level, line] : written.lines)
        if (log_) log_(level, line);
    if (written.digest.empty()) return;
    if (told_ && log_) log_(LogLevel::info, "saving works again");
    told_ = false;
    pause_ = first_pause;
    step_ = written.step;
    digest_ = written.digest;
}

void CheckpointWriter::keep_for_later(const Error& error) {
    try_at_ = std::chrono::steady_clock::now() + pause_;
    pause_ = std::min(2 * pause_, longest_pause);
    if (!told_ && log_)
        log_(LogLevel::warning,
             std::string("training goes on without this checkpoint, which is tried again: ") + error.what());
    told_ = true;
}

}  // namespace onecycle
