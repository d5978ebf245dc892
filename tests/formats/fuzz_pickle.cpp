// libFuzzer target: any bytes are the pickle of a state dict, or refused; no view leaves its storage. See scripts/fuzz.
#include <exception>

#include "formats/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace onecycle;
    try {
        for (const PickledTensor& tensor : parse_state_dict(std::as_bytes(std::span(data, size)))) {
            std::uint64_t elements = 1, last = tensor.offset;
            for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
                elements *= static_cast<std::uint64_t>(tensor.shape[i]);
                last += static_cast<std::uint64_t>(tensor.shape[i] - 1) *
                        static_cast<std::uint64_t>(tensor.strides[i]);
            }
            if (elements > 0 && (last >= tensor.storage_elements || elements > tensor.storage_elements))
                std::terminate();
        }
    } catch (const NotAStateDict&) {
    }
    return 0;
}
