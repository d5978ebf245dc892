// A device owns memory and runs work in order on streams. This is all that the layers above know of
// it; what the work is (a oneDNN primitive, a kernel launch) is decided in `ops`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace onecycle {

enum class DeviceKind { cpu, cuda, emulated };

class Device;

// Memory of a device, 64-byte aligned and zeroed. Moves, never copies.
class DeviceMemory {
  public:
    DeviceMemory() = default;
    DeviceMemory(Device& device, std::size_t bytes);
    DeviceMemory(DeviceMemory&& other) noexcept;
    DeviceMemory& operator=(DeviceMemory&& other) noexcept;
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;
    ~DeviceMemory();

    std::byte* data() const { return data_; }
    std::size_t size() const { return bytes_; }

  private:
    Device* device_ = nullptr;
    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
};

// Memory that the host and the device both read and write, zeroed: pinned and mapped on CUDA, and
// what copy_ahead() copies from. What a running step writes is seen by the host without a call.
// Moves, never copies.
class SharedMemory {
  public:
    SharedMemory() = default;
    SharedMemory(Device& device, std::size_t bytes);
    SharedMemory(SharedMemory&& other) noexcept;
    SharedMemory& operator=(SharedMemory&& other) noexcept;
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory();

    std::byte* on_host() const { return on_host_; }
    std::byte* on_device() const { return on_device_; }  // for operations; the same bytes
    std::size_t size() const { return bytes_; }

  private:
    Device* device_ = nullptr;
    std::byte *on_host_ = nullptr, *on_device_ = nullptr;
    std::size_t bytes_ = 0;
};

// An order of work. Work on one stream runs in the order it was put there.
class Stream {
  public:
    explicit Stream(Device& device) : device_(&device) {}
    virtual ~Stream() = default;
    Device& device() const { return *device_; }

  private:
    Device* device_;
};

// An op of a program as the device sees it: its branch (branch 0 is the main one; ops of one branch
// run in list order) and the earlier ops of other branches that it waits for.
struct ProgramPiece {
    std::function<void(Stream&)> run;
    int branch = 0;
    std::vector<int> waits;
    bool lasting = false;  // it writes what outlives the launch
};

// A whole program, ready to be launched again and again: on the CPU a list that is run in order, on
// CUDA a captured graph (one call a launch).
class Launchable {
  public:
    virtual ~Launchable() = default;
    virtual void launch() = 0;
    // Asks `stop` between pieces, where the device runs them one by one, until the first one that
    // is lasting. Returns its answer if that is not 0: the launch was left, and was as good as none.
    virtual int launch_unless(const std::function<int()>& /*stop*/) {
        launch();
        return 0;
    }
};

// A copy of pieces of device memory that goes to the host while later launches run.
class SideCopy {
  public:
    struct Piece {
        const std::byte* from = nullptr;
        std::size_t bytes = 0;
    };
    virtual ~SideCopy() = default;

    // Takes the pieces as they are after everything launched before. Does not wait; nobody may be
    // reading what an earlier begin() took.
    virtual void begin() = 0;
    // Waits until they are on the host. Any thread may wait.
    virtual void wait() = 0;
    // A piece on the host, 64-byte aligned; from wait() to the next begin().
    virtual const std::byte* piece(std::size_t index) const = 0;
};

// Calls of the runtime below, by this process: of each function, and of those that make the host
// wait.
struct RuntimeCalls {
    std::map<std::string, std::uint64_t> of;
    std::uint64_t blocking = 0;
};

class Device {
  public:
    virtual ~Device() = default;

    virtual DeviceKind kind() const = 0;
    virtual std::string name() const = 0;  // "AMD EPYC, 2 threads"

    // Throws Error(device) naming the bytes asked for when there is not enough.
    virtual std::byte* allocate(std::size_t bytes) = 0;
    virtual void release(std::byte* memory) noexcept = 0;
    // Bytes; without bound where it is the host's memory.
    virtual std::size_t free_memory() { return SIZE_MAX; }

    // For SharedMemory.
    struct SharedPointers {
        std::byte *on_host, *on_device;
    };
    virtual SharedPointers allocate_shared(std::size_t bytes) = 0;
    virtual void release_shared(std::byte* on_host) noexcept = 0;

    // In order with what was launched before: a launched step still reads what was there when it
    // was launched. `from_host` may be changed at once; copy_out waits.
    virtual void copy_in(std::byte* to, const void* from_host, std::size_t bytes) = 0;
    virtual void copy_out(void* to_host, const std::byte* from, std::size_t bytes) = 0;
    virtual void copy(std::byte* to, const std::byte* from, std::size_t bytes) = 0;

    // Asynchronous host-to-device copy on its own stream. Steps launched later wait for it.
    // Precondition: no running step uses `to`; do not modify `from_shared` until a later step has
    // finished.
    virtual void copy_ahead(std::byte* to, const std::byte* from_shared, std::size_t bytes) = 0;

    // Memory for it is taken now. The device must outlive it.
    virtual std::unique_ptr<SideCopy> make_side_copy(const std::vector<SideCopy::Piece>& pieces) = 0;

    // The ops must be in an order that respects branches and waits.
    virtual std::unique_ptr<Launchable> prepare(std::vector<ProgramPiece> program) = 0;

    // The stream of launches and copies, for work that runs outside of a step.
    virtual Stream& stream() = 0;

    // Waits until everything launched has finished.
    virtual void synchronize() = 0;

    // Whether work is still under way. Does not wait. Throws Error(device) if work failed: who
    // waits for what a step writes into shared memory asks now and then.
    virtual bool busy() = 0;

    // How long each piece takes on the stream, one after the other, by the GPU's clock where there
    // is one. Waits.
    virtual std::vector<double> seconds(const std::vector<std::function<void(Stream&)>>& pieces);

    virtual RuntimeCalls runtime_calls() const { return {}; }
};

// `threads` 0: all cores.
std::unique_ptr<Device> make_cpu_device(int threads);

// How a prepared step is launched: as one graph, or piece by piece (the same bits; for
// fault-finding).
enum class StepMode { graph, eager };

// Throws Error(device) saying what is missing: a build with CUDA, a driver, the device.
std::unique_ptr<Device> make_cuda_device(int index, StepMode mode = StepMode::graph);

// The CUDA device on the emulator.
std::unique_ptr<Device> make_emulated_device(StepMode mode = StepMode::graph, int index = 0);

}  // namespace onecycle
