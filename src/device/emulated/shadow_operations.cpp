// What operations declare, and what becomes of it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "device/emulated/memory.h"
#include "device/emulated/shadow.h"
#include "onecycle/error.h"

namespace onecycle::emulated {

struct Operation {
    std::string name;
    std::vector<Operand> operands;
    std::size_t pieces = 0;
    bool all_issued = false;
};

namespace {

thread_local std::shared_ptr<Operation> current;
const Operation* running = nullptr;

const std::byte* end_of(const Bytes& b) {
    return static_cast<const std::byte*>(b.begin) + b.bytes;
}
bool overlap(const Bytes& a, const Bytes& b) {
    return a.begin < end_of(b) && b.begin < end_of(a);
}

struct Running {
    explicit Running(const Operation& operation) { running = &operation; }
    ~Running() { running = nullptr; }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
};

// Pinned memory is everybody's, the host's too.
bool restricted(const Operand& o) {
    return shadow::first_without(o.place.begin, 1, shadow::own) != nullptr;
}

// Gives an operation its rights while one of its pieces runs.
class Rights {
  public:
    explicit Rights(const Operation& operation) : now_(operation), operation_(operation) {
        for (const Operand& o : operation.operands)
            if (restricted(o))
                shadow::set_flags(o.place.begin, o.place.bytes,
                                  shadow::readable | (o.written ? shadow::writable : 0u));
        shadow::restrict_access(true);
    }
    ~Rights() {
        shadow::restrict_access(false);
        for (const Operand& o : operation_.operands)
            if (restricted(o))
                shadow::clear_flags(o.place.begin, o.place.bytes, shadow::readable | shadow::writable);
    }
    Rights(const Rights&) = delete;
    Rights& operator=(const Rights&) = delete;

  private:
    const Running now_;
    const Operation& operation_;
};

void begin(const Operation& operation) {
    for (const Operand& o : operation.operands)
        if (o.fresh && restricted(o)) shadow::clear_flags(o.place.begin, o.place.bytes, shadow::initialised);
}

void end(const Operation& operation, const char* last) {
    for (const Operand& o : operation.operands) {
        if (o.scratch && restricted(o))
            shadow::clear_flags(o.place.begin, o.place.bytes, shadow::initialised);
        if (!o.whole) continue;
        if (const void* bad = shadow::first_without(o.place.begin, o.place.bytes, shadow::initialised))
            throw Error(ErrorKind::device, "memory that was left without a value", last,
                        fmt::format("{} has ended, and nothing was written to {}", operation.name,
                                    shadow::place_in_operands(bad)));
    }
}

template <typename F>
void run_piece_of(const Claim& claim, const char* name, F work) {
    const Operation& operation = *claim->operation;
    if (claim->number == 0) begin(operation);
    {
        const Rights rights(operation);
        work();
    }
    if (operation.all_issued && claim->number + 1 == operation.pieces) {
        const Running now(operation);
        end(operation, name);
    }
}

}  // namespace

std::string shadow::place_in_operands(const void* address) {
    if (!running) return "";
    constexpr std::ptrdiff_t near = 4096;
    const auto* at = static_cast<const std::byte*>(address);
    const Operand* nearest = nullptr;
    std::ptrdiff_t distance = near;
    for (const Operand& o : running->operands) {
        const auto* first = static_cast<const std::byte*>(o.place.begin);
        const std::ptrdiff_t d = at < first             ? first - at
                                 : at < end_of(o.place) ? 0
                                                        : at - end_of(o.place) + 1;
        if (d >= distance) continue;
        distance = d;
        nearest = &o;
    }
    if (!nearest) return "";
    return fmt::format("byte {} of {} ({} bytes) of {}",
                       at - static_cast<const std::byte*>(nearest->place.begin), nearest->name,
                       nearest->place.bytes, running->name);
}

namespace checker {

void begin_operation(std::string name, std::vector<Operand> operands) {
    std::erase_if(operands, [](const Operand& o) {
        return !o.place.begin || o.place.bytes == 0 || !shadow::in_window(o.place.begin);
    });
    current = std::make_shared<Operation>(Operation{std::move(name), std::move(operands)});
}

void end_operation() {
    if (current) current->all_issued = true;
    current.reset();
}

Claim next_piece() {
    return current ? std::make_shared<const Piece>(Piece{current, current->pieces++}) : nullptr;
}

Claim claim(std::vector<Bytes> reads, std::vector<Bytes> writes) {
    Operation o{"a copy", {}, 1, true};
    for (const Bytes& b : reads) o.operands.push_back({"its source", b});
    for (const Bytes& b : writes) o.operands.push_back({"its target", b, true});
    return std::make_shared<const Piece>(Piece{std::make_shared<Operation>(std::move(o)), 0});
}

void run_piece(const Claim& claim, const char* name, const std::function<void()>& work) {
    if (!claim) return work();
    run_piece_of(claim, name, work);
}

void run_host_piece(const Claim& claim, const std::vector<Bytes>& reads, const std::vector<Bytes>& writes,
                    const std::function<void()>& work) {
    const auto require = [](const Bytes& b, unsigned flag, const char* what, const char* why) {
        if (!b.begin || b.bytes == 0) return;
        if (const void* bad = shadow::first_without(b.begin, b.bytes, flag)) {
            std::string place = shadow::place_in_operands(bad);
            if (place.empty()) place = place_in_memory(bad);
            throw Error(ErrorKind::device, what, "work of the host", why + place);
        }
    };
    const auto watched = [&] {
        for (const Bytes& b : reads) {
            require(b, shadow::live, "an access out of bounds", "it reads ");
            if (claim)
                require(b, shadow::readable, "an access that the operation does not declare", "it reads ");
            require(b, shadow::initialised, "a read of memory that has no value", "it reads ");
        }
        for (const Bytes& b : writes) {
            require(b, shadow::live, "an access out of bounds", "it writes ");
            if (claim)
                require(b, shadow::writable, "an access that the operation does not declare", "it writes ");
        }
        work();
        for (const Bytes& b : writes)
            if (b.bytes) shadow::set_flags(b.begin, b.bytes, shadow::initialised);
    };
    if (claim)
        run_piece_of(claim, "work of the host", watched);
    else
        watched();
}

std::string conflict(const Claim& a, const Claim& b) {
    if (!a || !b || a->operation == b->operation) return "";
    for (const Operand& x : a->operation->operands)
        for (const Operand& y : b->operation->operands)
            if ((x.written || y.written) && overlap(x.place, y.place))
                return fmt::format("{} of {} and {} of {} are the same memory, and nothing orders the two",
                                   x.name, a->operation->name, y.name, b->operation->name);
    return "";
}

}  // namespace checker

}  // namespace onecycle::emulated
