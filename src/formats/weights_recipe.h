// Lines of Python, to be pasted into a shell, that make a file we read of one that we do not. They
// need torch and safetensors, and loading a pickle runs it: each says so.
#pragma once

#include <string>
#include <vector>

#include "onecycle/tensor_file.h"

namespace onecycle {

// As one word of a POSIX shell, quoted where it must be.
std::string shell_word(const std::string& text);

inline constexpr const char* leave_out_ema = "leave --init-ema out";

inline constexpr const char* torch_load = "torch.load(sys.argv[1], map_location='cpu', weights_only=False)";

// For a file that holds a network's weights in a way that Python alone can take apart. `load`: an
// expression.
std::string convert(const std::string& path, const std::string& load, const std::vector<NetworkMarks>& marks);
std::string convert_torchscript(const std::string& path);

// Keeps the tensors whose names begin with `prefix`, of the dictionary to which `keys` lead in what
// `load` gives.
std::string keep_one(const std::string& path, std::string load, const std::vector<std::string>& keys,
                     const std::string& prefix);

}  // namespace onecycle
