// Counts heap allocations of the whole program, libraries included.
#pragma once

#include <cstddef>

namespace onecycle::testing {

struct Allocations {
    std::size_t count = 0, bytes = 0;
};

void start_counting_allocations(std::size_t from_bytes = 0);  // counts those of at least this size
Allocations stop_counting_allocations();

}  // namespace onecycle::testing
