// What readers look for in these tests: ResNets, and the names under which they are published.
#pragma once

#include "formats/readers.h"

namespace onecycle::test {

inline const KnownNetworks known{.marks = {{.first = "conv1.weight",
                                            .second = "layer1.0.conv1.weight",
                                            .statistics = "bn1.running_mean",
                                            .classifier = "fc.weight",
                                            .children = {"conv1", "bn1", "relu", "maxpool", "layer1",
                                                         "layer2", "layer3", "layer4", "avgpool", "fc"}}},
                                 .published = {"resnet18-5c106cde.pth", "resnet18-f37072fd.pth",
                                               "resnet34-b627a593.pth", "resnet50-11ad3fa6.pth"}};

inline std::unique_ptr<TensorFile> open_known(const std::string& path, FileSystem& fs = posix_file_system(),
                                              bool ema = false) {
    return open_tensor_file(path, fs, ema, known);
}

}  // namespace onecycle::test
