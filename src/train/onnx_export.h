// A network with its weights as an ONNX graph.
#pragma once

#include <array>
#include <map>
#include <string>

#include "formats/onnx_writer.h"
#include "nn/state.h"
#include "onecycle/network.h"

namespace onecycle {

struct OnnxOptions {
    // false: a batch norm is folded into the convolution or linear layer that it alone reads, or
    // that alone reads it; computed in double precision. true: it stays a node.
    bool keep_bn = false;
    // The input is then 8-bit pixels [N,H,W,3], else normalised floats [N,3,H,W].
    bool with_preprocessing = false;
    std::array<double, 3> mean{0.485, 0.456, 0.406}, stddev{0.229, 0.224, 0.225};
};

// The network as it evaluates: running statistics, no dropout. `weights`: every parameter and
// running statistic by its torchvision name. The input is called "input", the output "logits"; N is
// free. Without metadata.
OnnxModel onnx_model(const Network& network, const std::map<std::string, HostTensor>& weights,
                     const OnnxOptions& options);

}  // namespace onecycle
