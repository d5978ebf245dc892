// A network as a graph of layers, declared once and without a batch size. The compiler (src/nn) turns it
// into the list of steps that runs. Names are torchvision's, so that weights move between the two.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace onecycle {

enum class LayerKind : std::uint8_t {
    input,
    conv2d,
    batch_norm,
    relu,
    add,
    max_pool,
    global_average_pool,
    linear,
};

// What a parameter is decides its initial values and whether weight decay applies.
enum class ParameterRole : std::uint8_t { conv_weight, norm_weight, norm_bias, linear_weight, linear_bias };

struct Parameter {
    std::string name;  // "layer1.0.conv1.weight"
    ParameterRole role{};
    std::vector<std::int64_t> shape;  // PyTorch's order
    bool zero_init = false;           // norm weights of --zero-init-residual
};

struct Layer {
    LayerKind kind{};
    std::string name;                     // "layer1.0.conv1"; empty for layers without parameters
    std::vector<int> inputs;              // layers
    std::array<std::int64_t, 3> shape{};  // of the output: channels, height, width
    int kernel = 0, stride = 1, padding = 0;
    double epsilon = 1e-5, momentum = 0.1;  // batch norm, as PyTorch's defaults
    std::vector<int> parameters;            // indices into Network::parameters()
    int statistics = -1;                    // batch norm: which pair of running statistics
};

class Network {
  public:
    // The layer functions return the index of the new layer, to be used as `x` of later ones. They throw
    // Error(usage) when shapes do not fit.
    int input(std::int64_t channels, std::int64_t height, std::int64_t width);
    int conv2d(const std::string& name, int x, std::int64_t out_channels, int kernel, int stride,
               int padding);
    int batch_norm(const std::string& name, int x, bool zero_init = false);
    int relu(int x);
    int add(int a, int b);
    int max_pool(int x, int kernel, int stride, int padding);
    int global_average_pool(int x);
    int linear(const std::string& name, int x, std::int64_t out_features);

    const std::vector<Layer>& layers() const { return layers_; }
    // In the order of torchvision's state_dict.
    const std::vector<Parameter>& parameters() const { return parameters_; }
    // Names of the batch norms, in order: running_mean, running_var and num_batches_tracked hang on them.
    const std::vector<std::string>& statistics() const { return statistics_; }

    std::int64_t classes() const { return layers_.back().shape[0]; }
    std::int64_t parameter_count() const;

  private:
    int append(Layer layer);
    int add_parameter(const std::string& name, ParameterRole role, std::vector<std::int64_t> shape,
                      bool zero_init = false);

    std::vector<Layer> layers_;
    std::vector<Parameter> parameters_;
    std::vector<std::string> statistics_;
};

enum class Stem : std::uint8_t {
    imagenet,  // 7x7 convolution of stride 2, then max pooling: a quarter of the size
    small,     // 3x3 convolution of stride 1, no pooling: for images of 32-64 pixels
};

struct ResnetOptions {
    std::string arch = "resnet34";  // resnet18, resnet34, resnet50
    int classes = 1000;
    int size = 224;  // pixels, square
    Stem stem = Stem::imagenet;
    bool zero_init_residual = false;  // the last norm of each block starts at 0, as in torchvision
};

// He et al. 2015, as torchvision builds it (ResNet50 with the stride in the 3x3 convolution, "v1.5").
// Throws Error(usage) for an unknown arch or a size below 32 (imagenet stem) or 8 (small).
Network resnet(const ResnetOptions& options);

}  // namespace onecycle
