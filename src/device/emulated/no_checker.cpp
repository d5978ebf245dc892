// Nothing watches.
#include "device/emulated/checker.h"

namespace onecycle::emulated {

struct Operation {};

namespace checker {

bool watches() {
    return false;
}

void begin_operation(std::string, std::vector<Operand>) {}
void end_operation() {}
Claim next_piece() {
    return nullptr;
}
Claim claim(std::vector<Bytes>, std::vector<Bytes>) {
    return nullptr;
}
void run_piece(const Claim&, const char*, const std::function<void()>& work) {
    work();
}
void run_host_piece(const Claim&, const std::vector<Bytes>&, const std::vector<Bytes>&,
                    const std::function<void()>& work) {
    work();
}
std::string conflict(const Claim&, const Claim&) {
    return "";
}

void* address_for(std::size_t) {
    return nullptr;
}
void allocated(const void*, std::size_t, bool) {}
void released(const void*, std::size_t) {}
void copied(const void*, const void*, std::size_t) {}
void filled(const void*, std::size_t) {}
void shared_array_added(const void*, std::size_t) {}

void grid_begins(const Grid&) {}
void blocks_begin() {}
void lanes_met(const ThreadState&, unsigned) {}
void warp_synchronized(const ThreadState&, unsigned) {}

}  // namespace checker

}  // namespace onecycle::emulated
