// Fibers: stacks that one host thread switches between, so that a CUDA thread can wait in the
// middle of a kernel. Each stack ends in a guard page. AddressSanitizer is told of every switch.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

namespace onecycle::emulated {

class Fiber {
  public:
    Fiber() = default;  // the host thread's own stack, to switch from and back to
    explicit Fiber(void (*main)());
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;
    ~Fiber();

    // Forgets what the fiber was doing, without unwinding; the next switch starts `main` again.
    void restart();

    // Whether the address lies in the guard page: the stack was too small.
    bool overflowed_at(const void* address) const;

    // Leaves `from`, which runs now, and goes on where `to` left or begins its main.
    static void switch_to(Fiber& from, Fiber& to);

    // The fiber that this host thread runs.
    static Fiber& current();

  private:
    static void begin(boost::context::detail::transfer_t from);
    static void arrive(boost::context::detail::transfer_t from, void* own_fake_stack);

    boost::context::detail::fcontext_t context_ = nullptr;
    void (*main_)() = nullptr;  // never returns
    const void* stack_ = nullptr;
    std::size_t bytes_ = 0;
    void* fake_stack_ = nullptr;  // AddressSanitizer's
};

}  // namespace onecycle::emulated
