// Counts heap allocations of the whole program, libraries included.
#pragma once

#include <cstddef>

namespace onecycle::testing {

void start_counting_allocations(std::size_t from_bytes);  // counts those of at least this size
std::size_t stop_counting_allocations();

}  // namespace onecycle::testing
