// Models for other programs.
//
// FILE.safetensors holds the weights that count (the moving average, where a checkpoint keeps one),
// under torchvision's names, num_batches_tracked included and nothing else: torchvision and timm
// load it with strict=True. Classes and image conventions stand in its metadata, so that `eval` and
// `predict` know them too.
//
// FILE.onnx is a graph of opset 17. Input "input": float32 [N,3,H,W], normalised, N free, H and W
// the model's size; or, with preprocessing, uint8 pixels [N,H,W,3]. Output "logits": [N,classes].
// Its metadata_props are JSON values: classes, size, crop_pct, mean, std, arch.
#pragma once

#include <cstdint>
#include <string>

#include "onecycle/model.h"

namespace onecycle {

struct ExportOptions {
    // .onnx: batch norms stay nodes; else folded into their neighbours' weights.
    bool keep_bn = false;
    bool with_preprocessing = false;  // .onnx: the normalisation is part of the graph
    bool force = false;               // replaces a file that is there
    ModelOptions model{};             // size, crop_pct, mean and stddev, where not the file's own
};

struct ExportResult {
    std::string file{};
    std::string format{};     // "safetensors" or "onnx", by the ending of the name
    std::uint64_t bytes = 0;  // of the file
    ModelInfo info{};         // of the model
};

// `model`: as for Model; a .pth too. The file appears complete or not at all. Throws Error(usage)
// for another ending or an option that the format has no use for, Error(io) for a file that is
// there or cannot be written, and as Model.
ExportResult export_model(const std::string& model, const std::string& to, const ExportOptions& options = {});
// A model of an architecture that is not built in.
ExportResult export_model(const std::string& model, const std::string& to, const ExportOptions& options,
                          const Architecture& architecture);

}  // namespace onecycle
