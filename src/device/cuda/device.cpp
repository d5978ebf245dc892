// The CUDA device: memory, copies, and steps captured as graphs. Written once; compiled for the
// GPU, and for the emulator (device/cuda/runtime.h).
#include "device/device.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "device/cuda/collectives.h"
#include "device/cuda/machine.h"
#include "device/cuda/side_copy.h"
#include "device/cuda/staging.h"
#include "device/cuda/stream.h"
#include "onecycle/error.h"
#if !defined(ONECYCLE_EMULATED)
#include "device/cuda/timing.h"
#endif

namespace onecycle {

namespace ONECYCLE_CUDA {

namespace {

class EagerStep final : public Launchable {
  public:
    EagerStep(int device, Stream& stream, std::vector<ProgramPiece> step)
        : device_(device), stream_(stream), step_(std::move(step)) {}
    void launch() override {
        make_current(device_);
        for (ProgramPiece& work : step_) work.run(stream_);
    }

  private:
    int device_;
    Stream& stream_;
    std::vector<ProgramPiece> step_;
};

class GraphStep final : public Launchable {
  public:
    GraphStep(int device, GraphExec graph, cudaStream_t stream)
        : device_(device), graph_(std::move(graph)), stream_(stream) {}
    void launch() override {
        make_current(device_);
        ONECYCLE_CALL_CUDA(cudaGraphLaunch, graph_.get(), stream_);
    }

  private:
    int device_;
    GraphExec graph_;
    cudaStream_t stream_;
};

// Puts the pieces of a step on one stream a branch; events are the edges between branches.
class StepRecording {
  public:
    StepRecording(Device& device, cudaStream_t main, int side_priority, const std::vector<ProgramPiece>& step)
        : main_(main), step_(step) {
        int branches = 1;
        for (const ProgramPiece& work : step) branches = std::max(branches, work.branch + 1);
        streams_.emplace_back(device, main);
        for (int b = 1; b < branches; ++b) {
            side_.push_back(make_stream(side_priority));
            streams_.emplace_back(device, side_.back().get());
        }
        joined_.assign(streams_.size(), false);
        done_.resize(step.size());
    }

    GraphExec run() {
        // Without the flag every branch would run at the priority of the stream that the graph is
        // launched into.
        return capture_graph(
            main_, [&] { issue(); }, cudaGraphInstantiateFlagUseNodePriority);
    }

  private:
    void issue() {
        const Event begin = make_event();
        ONECYCLE_CALL_CUDA(cudaEventRecord, begin.get(), main_);
        std::vector<bool> waited_for(step_.size(), false);
        for (const ProgramPiece& work : step_)
            for (int earlier : work.waits) waited_for[static_cast<std::size_t>(earlier)] = true;
        for (std::size_t i = 0; i < step_.size(); ++i) {
            const ProgramPiece& work = step_[i];
            const auto branch = static_cast<std::size_t>(work.branch);
            CudaStream& stream = streams_[branch];
            if (branch > 0 && !joined_[branch]) {
                wait(stream, begin);
                joined_[branch] = true;
            }
            for (int earlier : work.waits) wait(stream, done_[static_cast<std::size_t>(earlier)]);
            work.run(stream);
            if (waited_for[i]) done_[i] = record(stream);
        }
        for (std::size_t b = 1; b < streams_.size(); ++b)
            if (joined_[b]) {
                const Event end = record(streams_[b]);
                wait(streams_[0], end);
            }
    }

    static void wait(CudaStream& stream, const Event& event) {
        ONECYCLE_CALL_CUDA(cudaStreamWaitEvent, stream.handle(), event.get(), 0u);
    }
    static Event record(CudaStream& stream) {
        Event event = make_event();
        ONECYCLE_CALL_CUDA(cudaEventRecord, event.get(), stream.handle());
        return event;
    }

    cudaStream_t main_;
    const std::vector<ProgramPiece>& step_;
    std::vector<StreamHandle> side_;
    std::vector<CudaStream> streams_;
    std::vector<bool> joined_;  // side streams that are part of the capture
    std::vector<Event> done_;   // of pieces that others wait for
};

std::string mebibytes(std::size_t bytes) {
    return std::to_string(bytes >> 20) + " MiB";
}

class CudaDevice : public Device {
  public:
    CudaDevice(DeviceKind kind, int index, StepMode mode) : kind_(kind), index_(index), mode_(mode) {
        make_current(index);
        cudaDeviceProp properties{};
        ONECYCLE_CALL_CUDA(cudaGetDeviceProperties, &properties, index);
        name_ = properties.name;
        // Side branches fill the gaps that the main one leaves.
        int least = 0, greatest = 0;
        ONECYCLE_CALL_CUDA(cudaDeviceGetStreamPriorityRange, &least, &greatest);
        side_priority_ = least;
        main_ = make_stream(greatest);
        copies_ = make_stream(greatest);
        copied_ = make_event();
        stream_ = std::make_unique<CudaStream>(*this, main_.get());
        staging_ = std::make_unique<Staging>(main_.get(), ring_bytes);
    }
    ~CudaDevice() override {
        ONECYCLE_CLOSE_CUDA(cudaSetDevice, index_);
        ONECYCLE_CLOSE_CUDA(cudaStreamSynchronize, main_.get());
    }

    DeviceKind kind() const override { return kind_; }
    std::string name() const override { return name_; }

    std::byte* allocate(std::size_t bytes) override {
        make_current(index_);
        void* memory = nullptr;
        const cudaError_t error = ONECYCLE_TRY_CUDA(cudaMalloc, &memory, bytes);
        if (error == cudaErrorMemoryAllocation) {
            ONECYCLE_TRY_CUDA(cudaGetLastError);
            std::size_t free = 0, total = 0;
            ONECYCLE_CALL_CUDA(cudaMemGetInfo, &free, &total);
            throw Error(ErrorKind::device, "not enough memory", name_,
                        mebibytes(bytes) + " (" + std::to_string(bytes) + " bytes) were asked for, " +
                            mebibytes(free) + " of " + mebibytes(total) + " are free",
                        "use a smaller --batch-size or --size");
        }
        check(error, "cudaMalloc");
        auto* zeroed = static_cast<std::byte*>(memory);
        ONECYCLE_CALL_CUDA(cudaMemsetAsync, zeroed, 0, bytes, main_.get());
        return zeroed;
    }
    void release(std::byte* memory) noexcept override {
        ONECYCLE_CLOSE_CUDA(cudaSetDevice, index_);
        ONECYCLE_CLOSE_CUDA(cudaFree, memory);
    }
    std::size_t free_memory() override {
        make_current(index_);
        std::size_t free = 0, total = 0;
        ONECYCLE_CALL_CUDA(cudaMemGetInfo, &free, &total);
        return free;
    }

    SharedPointers allocate_shared(std::size_t bytes) override {
        make_current(index_);
        void *on_host = nullptr, *on_device = nullptr;
        ONECYCLE_CALL_CUDA(cudaHostAlloc, &on_host, bytes, cudaHostAllocMapped);
        ONECYCLE_CALL_CUDA(cudaHostGetDevicePointer, &on_device, on_host, 0u);
        std::memset(on_host, 0, bytes);
        return {static_cast<std::byte*>(on_host), static_cast<std::byte*>(on_device)};
    }
    void release_shared(std::byte* on_host) noexcept override {
        ONECYCLE_CLOSE_CUDA(cudaSetDevice, index_);
        // Steps and copies may still use it.
        ONECYCLE_CLOSE_CUDA(cudaStreamSynchronize, main_.get());
        ONECYCLE_CLOSE_CUDA(cudaStreamSynchronize, copies_.get());
        ONECYCLE_CLOSE_CUDA(cudaFreeHost, on_host);
    }

    void copy_in(std::byte* to, const void* from_host, std::size_t bytes) override {
        make_current(index_);
        staging_->copy_in(to, from_host, bytes);
    }
    void copy_out(void* to_host, const std::byte* from, std::size_t bytes) override {
        make_current(index_);
        staging_->copy_out(to_host, from, bytes);
    }
    void copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
        if (bytes == 0) return;  // no memory was taken for it either
        make_current(index_);
        ONECYCLE_CALL_CUDA(cudaMemcpyAsync, to, from, bytes, cudaMemcpyDeviceToDevice, main_.get());
    }

    void copy_ahead(std::byte* to, const std::byte* from_shared, std::size_t bytes) override {
        make_current(index_);
        ONECYCLE_CALL_CUDA(cudaMemcpyAsync, to, from_shared, bytes, cudaMemcpyHostToDevice, copies_.get());
        ONECYCLE_CALL_CUDA(cudaEventRecord, copied_.get(), copies_.get());
        ONECYCLE_CALL_CUDA(cudaStreamWaitEvent, main_.get(), copied_.get(), 0u);
    }

    std::unique_ptr<SideCopy> make_side_copy(const std::vector<SideCopy::Piece>& pieces) override {
        make_current(index_);
        return std::make_unique<CudaSideCopy>(*this, index_, main_.get(), side_priority_, pieces);
    }

    // Kernels and plans are made before, when the operations are; a piece only launches.
    std::unique_ptr<Launchable> prepare(std::vector<ProgramPiece> step) override {
        if (mode_ == StepMode::eager) return std::make_unique<EagerStep>(index_, *stream_, std::move(step));
        make_current(index_);
        return std::make_unique<GraphStep>(
            index_, StepRecording(*this, main_.get(), side_priority_, step).run(), main_.get());
    }

    Stream& stream() override { return *stream_; }
    void synchronize() override {
        make_current(index_);
        ONECYCLE_CALL_CUDA(cudaStreamSynchronize, main_.get());
    }
    bool busy() override {
        make_current(index_);
        const cudaError_t state = ONECYCLE_TRY_CUDA(cudaStreamQuery, main_.get());
        if (state != cudaErrorNotReady) check(state, "cudaStreamQuery");
        if (state == cudaErrorNotReady) ONECYCLE_TRY_CUDA(cudaGetLastError);  // no error to keep
        check_collectives();
        return state == cudaErrorNotReady;
    }
    RuntimeCalls runtime_calls() const override { return counted_calls(); }

  protected:
    int index() const { return index_; }

  private:
    static constexpr std::size_t ring_bytes = std::size_t{64} << 20;

    DeviceKind kind_;
    int index_;
    StepMode mode_;
    std::string name_;
    int side_priority_ = 0;
    StreamHandle main_, copies_;
    Event copied_;  // of the last copy_ahead
    std::unique_ptr<CudaStream> stream_;
    std::unique_ptr<Staging> staging_;
};

}  // namespace

}  // namespace ONECYCLE_CUDA

#if defined(ONECYCLE_EMULATED)

std::unique_ptr<Device> make_emulated_device(StepMode mode, int index) {
    using namespace emulated;
    if (cudaPeekAtLastError() == cudaErrorLaunchFailure) cudaDeviceReset();  // a kernel failed before
    return std::make_unique<CudaDevice>(DeviceKind::emulated, index, mode);
}

#else

namespace {

// Timed by the GPU.
class Gpu final : public cuda::CudaDevice {
  public:
    using CudaDevice::CudaDevice;

    // One graph of all pieces, with an event between any two: each runs once, as what changes the
    // state must, and the host's time for the launches does not count.
    std::vector<double> seconds(const std::vector<std::function<void(Stream&)> >& pieces) override {
        using namespace cuda;
        make_current(index());
        const cudaStream_t main = handle(stream());
        std::vector<Event> marks;
        for (std::size_t i = 0; i <= pieces.size(); ++i) marks.push_back(make_timing_event());
        const GraphExec graph = capture_graph(main, [&] {
            for (std::size_t i = 0; i < pieces.size(); ++i) {
                record_in_graph(marks[i].get(), main);
                pieces[i](stream());
            }
            record_in_graph(marks.back().get(), main);
        });
        ONECYCLE_CALL_CUDA(cudaGraphLaunch, graph.get(), main);
        synchronize();
        std::vector<double> times;
        for (std::size_t i = 0; i < pieces.size(); ++i)
            times.push_back(seconds_between(marks[i].get(), marks[i + 1].get()));
        return times;
    }
};

}  // namespace

std::unique_ptr<Device> make_cuda_device(int index, StepMode mode) {
    using namespace cuda;
    const CudaMachine machine = examine_cuda();
    if (const std::string why = machine.why_not(index); !why.empty())
        throw Error(ErrorKind::device, "no such device", "cuda:" + std::to_string(index), why,
                    (machine.fix.empty() ? "" : machine.fix + ", or ") +
                        "use --device cpu, or --device emulated to try the CUDA code");
    return std::make_unique<Gpu>(DeviceKind::cuda, index, mode);
}

#endif

}  // namespace onecycle
