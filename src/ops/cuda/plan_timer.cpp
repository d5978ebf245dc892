#include "ops/cuda/plan_timer.h"

#include <algorithm>
#include <random>
#include <utility>

#include "device/cuda/library_call.h"

namespace onecycle::cuda {

namespace {

constexpr int repetitions = 7;

std::size_t flush_bytes() {
    int cache = 0, device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, device), "cudaDeviceGetAttribute");
    return 2 * static_cast<std::size_t>(cache);
}

// Small numbers in [0.5, 1) with random signs and fractions: zeros would run faster than real
// numbers do.
void fill(const TimingMemory& memory, DType type, cudaStream_t stream) {
    std::mt19937 random(1);
    std::vector<std::uint32_t> words((1 << 20) / sizeof(std::uint32_t));
    for (std::uint32_t& word : words) {
        const std::uint32_t bits = random();
        word = type == DType::f32    ? 0x3F000000u | (bits & 0x807FFFFFu)
               : type == DType::bf16 ? 0x3F003F00u | (bits & 0x807F807Fu)
                                     : 0x38003800u | (bits & 0x83FF83FFu);
    }
    const auto copy = [&](std::size_t at, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
        check(cudaMemcpyAsync(static_cast<std::byte*>(memory.data()) + at, from, bytes, kind, stream),
              "cudaMemcpyAsync");
    };
    std::size_t filled = std::min(words.size() * sizeof(std::uint32_t), memory.bytes());
    copy(0, words.data(), filled, cudaMemcpyHostToDevice);
    for (std::size_t some; filled < memory.bytes(); filled += some) {
        some = std::min(filled, memory.bytes() - filled);
        copy(filled, memory.data(), some, cudaMemcpyDeviceToDevice);
    }
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

}  // namespace

TimingMemory::TimingMemory(std::size_t bytes) : bytes_(std::max<std::size_t>(bytes, 16)) {
    check(cudaMalloc(&data_, bytes_), "cudaMalloc");
}

TimingMemory::TimingMemory(TimingMemory&& other) noexcept
    : bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}

PlanTimer::PlanTimer(const std::vector<Buffer>& buffers) : flushed_(flush_bytes()) {
    buffers_.reserve(buffers.size());
    for (const Buffer& buffer : buffers) {
        buffers_.emplace_back(buffer.bytes);
        fill(buffers_.back(), buffer.type, stream_.get());
    }
}

std::vector<void*> PlanTimer::pointers() const {
    std::vector<void*> pointers;
    for (const TimingMemory& buffer : buffers_) pointers.push_back(buffer.data());
    return pointers;
}

double PlanTimer::time(const cudnn::Plan& plan, double best) {
    run(plan);  // loads its code, and shows whether it works
    const TimingMemory workspace(plan.workspace());
    const GraphExec graph = capture_graph(stream_.get(), [&] {
        check(cudaMemsetAsync(flushed_.data(), 0, flushed_.bytes(), stream_.get()), "cudaMemsetAsync");
        record_in_graph(begin_.get(), stream_.get());
        {
            const LibraryCall call;
            plan.run(pointers(), workspace.data(), stream_.get());
        }
        record_in_graph(end_.get(), stream_.get());
    });
    std::vector<double> times;
    for (int i = 0; i < repetitions; ++i) {
        check(cudaGraphLaunch(graph.get(), stream_.get()), "cudaGraphLaunch");
        check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
        times.push_back(1e3 * seconds_between(begin_.get(), end_.get()));
        if (times.back() > 3 * best) break;
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

void PlanTimer::run(const cudnn::Plan& plan) {
    const TimingMemory workspace(plan.workspace());
    plan.run(pointers(), workspace.data(), stream_.get());
    check(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
}

std::vector<std::byte> PlanTimer::read(std::size_t buffer) const {
    const TimingMemory& from = buffers_[buffer];
    std::vector<std::byte> bytes(from.bytes());
    check(cudaMemcpy(bytes.data(), from.data(), bytes.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return bytes;
}

bool PlanTimer::device_works() const {
    cudaGetLastError();  // not the next call's error
    return cudaStreamSynchronize(stream_.get()) == cudaSuccess;
}

}  // namespace onecycle::cuda
