// How far training moved the tensors of a state, against what a reference's run moved them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "nn/state.h"
#include "reference/formula.h"

namespace onecycle::testing {

// Rows [name, sum, norm, dot, [samples], tolerance] of how far each tensor moved.
inline void expect_change(const nlohmann::json& rows, const std::map<std::string, HostTensor>& before,
                          const std::map<std::string, HostTensor>& after) {
    for (const nlohmann::json& row : rows) {
        const std::string name = row[0];
        const std::vector<float>& values = after.at(name).values;
        reference::Summary want{row[1], row[2], row[3], {}};
        for (std::size_t j = 0; j < want.samples.size(); ++j) want.samples[j] = row[4][j];
        const reference::Summary got =
            reference::summarize(name, values.data(), values.size(), before.at(name).values.data());
        EXPECT_LE(reference::difference(got, want, values.size()), row[5].get<double>()) << name;
    }
}

}  // namespace onecycle::testing
