#include "cli/shared_dataset.h"

#include "data/dataset_bytes.h"
#include "device/communicator.h"

namespace onecycle::cli {

Dataset shared_dataset(const Console& console, const std::function<Dataset()>& open) {
    Communicator* const ranks = console.ranks().get();
    if (!ranks) return open();
    std::string text;
    Dataset dataset;
    if (console.leads()) {
        dataset = open();
        const std::vector<std::uint8_t> bytes = to_bytes(dataset);
        text.assign(bytes.begin(), bytes.end());
    }
    broadcast(*ranks, text);
    if (console.leads()) return dataset;
    return dataset_from_bytes({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace onecycle::cli
