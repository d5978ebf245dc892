// Which elements dropout keeps: one rule for all back ends, compiled for host and device.
#pragma once

#include <cstdint>

#include "rules/host_device.h"
#include "rules/rng.h"
#include "rules/step_rules.h"

namespace onecycle {

// What of an operation decides its masks, in numbers that a kernel takes.
struct DropoutRule {
    std::uint64_t seed;
    std::uint32_t layer;
    std::uint32_t least;  // the smallest of 24 random bits that keeps an element
    float scale;          // of what is kept

    DropoutRule(double probability, std::uint64_t seed_, std::uint32_t layer_)
        : seed(seed_),
          layer(layer_),
          least(static_cast<std::uint32_t>(probability * (1 << 24) + 0.5)),
          scale(static_cast<float>(1 / (1 - probability))) {}

    ONECYCLE_HD RandomStream numbers(const StepControl& control) const {
        return {seed, RandomPurpose::dropout, static_cast<std::uint32_t>(control.update),
                layer | static_cast<std::uint64_t>(global_micro(control)) << 32};
    }
    // The factor of an element with this random number. As a product, so that NaN stays.
    ONECYCLE_HD float factor(std::uint32_t word) const { return word >> 8 >= least ? scale : 0.0f; }
};

}  // namespace onecycle
