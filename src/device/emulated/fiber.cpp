#include "device/emulated/fiber.h"

#include <sys/mman.h>

#include "onecycle/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace onecycle::emulated {

namespace {

namespace context = boost::context::detail;

constexpr std::size_t page = 4096;
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t stack_bytes = std::size_t{256} << 10;  // frames are larger there
#else
constexpr std::size_t stack_bytes = std::size_t{128} << 10;
#endif

thread_local Fiber* running = nullptr;

}  // namespace

Fiber::Fiber(void (*main)()) : main_(main), bytes_(stack_bytes) {
    void* memory = mmap(nullptr, page + stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0)
        throw Error(ErrorKind::device, "not enough memory", "emulated CUDA", "for the stacks of a block");
    stack_ = static_cast<std::byte*>(memory) + page;
    restart();
}

Fiber::~Fiber() {
    if (main_) munmap(static_cast<std::byte*>(const_cast<void*>(stack_)) - page, page + bytes_);
}

void Fiber::restart() {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack_, bytes_);
    fake_stack_ = nullptr;
#endif
    auto* end = static_cast<std::byte*>(const_cast<void*>(stack_)) + bytes_;
    context_ = context::make_fcontext(end, bytes_, begin);
}

bool Fiber::overflowed_at(const void* address) const {
    const auto* at = static_cast<const std::byte*>(address);
    const auto* bottom = static_cast<const std::byte*>(stack_);
    return main_ && at < bottom && at >= bottom - page;
}

Fiber& Fiber::current() {
    return *running;
}

void Fiber::switch_to(Fiber& from, Fiber& to) {
    running = &to;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from.fake_stack_, to.stack_, to.bytes_);
#endif
    arrive(context::jump_fcontext(to.context_, &from), from.fake_stack_);
}

void Fiber::begin(context::transfer_t from) {
    arrive(from, nullptr);
    running->main_();
}

// Notes where the fiber that was left goes on, and, of the host thread, where its stack is.
void Fiber::arrive(context::transfer_t from, [[maybe_unused]] void* own_fake_stack) {
    Fiber& left = *static_cast<Fiber*>(from.data);
    left.context_ = from.fctx;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(own_fake_stack, &left.stack_, &left.bytes_);
#endif
}

}  // namespace onecycle::emulated
