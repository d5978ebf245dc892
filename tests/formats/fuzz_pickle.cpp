// libFuzzer target: any bytes are a pickle with a state dict, or refused; no view leaves its
// storage. See scripts/fuzz.
#include <algorithm>
#include <exception>

#include "formats/known.h"
#include "formats/state_dict.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace onecycle;
    try {
        const Pickle pickle(std::as_bytes(std::span(data, size)));
        for (const PickledTensor& tensor :
             find_state_dict(pickle, size % 2 == 0, test::known.marks).tensors) {
            std::uint64_t elements = 1, last = tensor.offset;
            for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
                elements *= static_cast<std::uint64_t>(tensor.shape[i]);
                last += static_cast<std::uint64_t>(tensor.shape[i] - 1) *
                        static_cast<std::uint64_t>(tensor.strides[i]);
            }
            if (elements > 0 && (last >= tensor.storage_elements ||
                                 elements > std::max<std::uint64_t>(tensor.storage_elements, 1 << 24)))
                std::terminate();
        }
    } catch (const Malformed&) {
    }
    return 0;
}
