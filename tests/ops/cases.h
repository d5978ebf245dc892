// The table of cases: every operation of a network with odd sizes, in every layout it can have.
// Each case is declared once and used by every test.
#pragma once

#include "ops/harness.h"

namespace onecycle::testing {

struct Case {
    std::string name;
    OpDesc desc;
    bool exact = true;  // small integers in give integers out, exactly
};

// All of them, for the back end with this many threads.
std::vector<Case> all_cases();

// Inputs of a case: uniform in [-1, 1), or small integers. Indices, labels and statistics are made
// valid.
std::vector<Values> inputs_for(const Case& test, bool integers);

inline std::ostream& operator<<(std::ostream& out, const Case& test) {
    return out << test.name;
}

}  // namespace onecycle::testing
