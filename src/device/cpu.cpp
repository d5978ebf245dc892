// The CPU as a device: work is done when it is put on a stream, and a step is a list that is run in
// order.
#include <omp.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "core/threads.h"
#include "device/device.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

class CpuLaunchable final : public Launchable {
  public:
    CpuLaunchable(Device& device, std::vector<ProgramPiece> step) : stream_(device), step_(std::move(step)) {}
    void launch() override {
        for (ProgramPiece& work : step_) work.run(stream_);
    }
    int launch_unless(const std::function<int()>& stop) override {
        bool whole = !stop;
        for (ProgramPiece& work : step_) {
            whole = whole || work.lasting;
            if (const int answer = whole ? 0 : stop()) return answer;
            work.run(stream_);
        }
        return 0;
    }

  private:
    Stream stream_;
    std::vector<ProgramPiece> step_;
};

class CpuSideCopy final : public SideCopy {
  public:
    CpuSideCopy(Device& device, const std::vector<Piece>& pieces) : pieces_(pieces) {
        for (const Piece& piece : pieces) copies_.emplace_back(device, piece.bytes);
    }
    void begin() override {
        for (std::size_t i = 0; i < pieces_.size(); ++i)
            if (pieces_[i].bytes) std::memcpy(copies_[i].data(), pieces_[i].from, pieces_[i].bytes);
    }
    void wait() override {}
    const std::byte* piece(std::size_t index) const override { return copies_[index].data(); }

  private:
    std::vector<Piece> pieces_;
    std::vector<DeviceMemory> copies_;
};

std::string processor_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.rfind("model name", 0) == 0) {
            const auto colon = line.find(": ");
            if (colon != std::string::npos) return line.substr(colon + 2);
        }
    return "CPU";
}

class CpuDevice final : public Device {
  public:
    explicit CpuDevice(int threads) {
        name_ = processor_name() + ", " +
                std::to_string(threads_to_be_had(threads > 0 ? threads : omp_get_max_threads())) + " threads";
    }

    DeviceKind kind() const override { return DeviceKind::cpu; }
    std::string name() const override { return name_; }

    std::byte* allocate(std::size_t bytes) override {
        // Whole huge pages where the system has them: a training step walks hundreds of megabytes.
        constexpr std::size_t huge_page = std::size_t{2} << 20;
        const std::size_t alignment = bytes >= huge_page ? huge_page : 64;
        const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
        void* memory = std::aligned_alloc(alignment, rounded);
        if (!memory)
            throw Error(ErrorKind::device, "not enough memory", "cpu",
                        std::to_string(bytes >> 20) + " MiB were asked for",
                        "use a smaller --batch-size or --size");
        if (alignment == huge_page) madvise(memory, rounded, MADV_HUGEPAGE);
        std::memset(memory, 0, rounded);
        return static_cast<std::byte*>(memory);
    }
    void release(std::byte* memory) noexcept override { std::free(memory); }

    SharedPointers allocate_shared(std::size_t bytes) override {
        std::byte* const memory = allocate(bytes);
        return {memory, memory};
    }
    void release_shared(std::byte* on_host) noexcept override { release(on_host); }

    void copy_in(std::byte* to, const void* from_host, std::size_t bytes) override {
        std::memcpy(to, from_host, bytes);
    }
    void copy_out(void* to_host, const std::byte* from, std::size_t bytes) override {
        std::memcpy(to_host, from, bytes);
    }
    void copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
        std::memcpy(to, from, bytes);
    }

    void copy_ahead(std::byte* to, const std::byte* from_shared, std::size_t bytes) override {
        std::memcpy(to, from_shared, bytes);
    }

    std::unique_ptr<SideCopy> make_side_copy(const std::vector<SideCopy::Piece>& pieces) override {
        return std::make_unique<CpuSideCopy>(*this, pieces);
    }

    std::unique_ptr<Launchable> prepare(std::vector<ProgramPiece> step) override {
        return std::make_unique<CpuLaunchable>(*this, std::move(step));
    }
    Stream& stream() override { return stream_; }
    void synchronize() override {}
    bool busy() override { return false; }

  private:
    Stream stream_{*this};
    std::string name_;
};

}  // namespace

std::unique_ptr<Device> make_cpu_device(int threads) {
    return std::make_unique<CpuDevice>(threads);
}

}  // namespace onecycle
