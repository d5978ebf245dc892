#include "train/fault_record.h"

#include <nlohmann/json.hpp>

namespace onecycle {

using Json = nlohmann::ordered_json;

std::string fault_record(const std::vector<ImageFault>& faults) {
    Json list = Json::array();
    for (const ImageFault& fault : faults)
        list.push_back({{"side", fault.training ? "train" : "valid"},
                        {"sample", fault.sample},
                        {"from", fault.from},
                        {"reason", printable(fault.reason)}});
    return list.dump();
}

std::vector<ImageFault> faults_from_record(const std::string& record, const Dataset& dataset,
                                           const std::string& where) try {
    std::vector<ImageFault> faults;
    const Json list = Json::parse(record);
    for (const Json& item : list) {
        ImageFault fault{.training = item.at("side") == "train",
                         .sample = item.at("sample").get<std::int64_t>(),
                         .from = item.at("from").get<std::int64_t>(),
                         .reason = item.at("reason").get<std::string>()};
        const std::vector<Sample>& side = fault.training ? dataset.train : dataset.valid;
        fault.path = side.at(static_cast<std::size_t>(fault.sample)).path();
        faults.push_back(std::move(fault));
    }
    return faults;
} catch (const std::exception&) {
    throw Error(ErrorKind::model, "cannot resume", where, "its list of bad images is not readable",
                "start a new run");
}

}  // namespace onecycle
