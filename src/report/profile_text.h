// A profile as tables for people.
#pragma once

#include <string>

#include "train/profile.h"

namespace onecycle {

enum class ProfileRows {
    step,       // every step of the program
    shape,      // steps that do the same work on the same shapes share a row: figures of one of them
    operation,  // only the totals by kind of operation
};

// `slowest_first`: by what all steps of a row take together; else in the order of the program.
std::string profile_text(const Profile& profile, ProfileRows rows, bool slowest_first);

}  // namespace onecycle
