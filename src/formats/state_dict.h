// The dictionary of tensors in a pickle, wherever a training script put it.
#pragma once

#include <string>
#include <vector>

#include "formats/pickle.h"
#include "formats/weights_place.h"

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

struct StateDict {
    std::vector<PickledTensor> tensors;  // in its order
    ChosenWeights chosen;
    std::vector<std::string> keys;  // the way to it
    bool indexed = true;            // each step of the way is an entry of a dictionary
};

// Bytes of an element of a storage whose type has this name, "torch FloatStorage"; 0 where there is
// no such type.
std::size_t element_size(const std::string& storage_type);

// Looks through dictionaries, lists, the attributes of objects, and the modules of a whole module,
// at most four deep. Every view lies within its storage, and has no more elements than it unless
// that is a small number. Entries that are no tensors are left out. Throws NotAStateDict where
// there are no tensors, or what fits is no plain tensor.
StateDict find_state_dict(const Pickle& pickle, bool ema, const std::vector<NetworkMarks>& marks);

}  // namespace onecycle
