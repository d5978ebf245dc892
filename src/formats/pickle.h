// The pickle of a state dict, run by a machine that can make nothing but plain values and descriptions of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/malformed.h"
#include "onecycle/tensor_file.h"

namespace onecycle {

// A tensor as the pickle speaks of it: a view of a storage.
struct PickledTensor {
    std::string name;
    StoredType type = StoredType::f32;
    std::string storage;                 // its key: the name of its record
    std::uint64_t storage_elements = 0;  // of the whole storage
    std::uint64_t offset = 0;            // elements
    std::vector<std::int64_t> shape, strides;
};

// A pickle that does more than describe tensors, or that is damaged.
struct NotAStateDict : Malformed {
    using Malformed::Malformed;
};

// The state dict's tensors, in its order; see TorchFile for what is taken. Every view lies within its storage and has
// at most as many elements. Throws NotAStateDict.
std::vector<PickledTensor> parse_state_dict(std::span<const std::byte> pickle);

}  // namespace onecycle
