// A network as a graph of layers, declared once and without a batch size. The compiler (src/nn)
// turns it into the list of steps that runs. Names are torchvision's, so that weights move between
// the two.
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
    concat_pool,
    dropout,
    linear,
};

// What a parameter is decides its initial values and whether weight decay applies.
enum class ParameterRole : std::uint8_t { conv_weight, norm_weight, norm_bias, linear_weight, linear_bias };

struct Parameter {
    std::string name;  // "layer1.0.conv1.weight"
    ParameterRole role{};
    std::vector<std::int64_t> shape;  // PyTorch's order
    bool zero_init = false;           // norm weights of --zero-init-residual
    // As fastai initialises a head: Kaiming normal with fan-in for weights, 1e-3 for biases of
    // norms.
    bool fastai_init = false;
    int part = 0, group = 0;  // see Network::begin_part
};

struct Layer {
    LayerKind kind{};
    std::string name;                     // "layer1.0.conv1"; empty for layers without parameters
    std::vector<int> inputs;              // layers
    std::array<std::int64_t, 3> shape{};  // of the output: channels, height, width
    int kernel = 0, stride = 1, padding = 0;
    double epsilon = 1e-5, momentum = 0.1;  // batch norm, as PyTorch's defaults
    double dropout = 0;                     // the share that a dropout layer drops in training
    int part = 0;                           // see Network::begin_part
    std::vector<int> parameters;            // indices into Network::parameters()
    int statistics = -1;                    // batch norm: which pair of running statistics
};

class Network {
  public:
    // Where the layers that follow belong. Parts count along the network from 0: freezing takes the
    // first so many of them. Groups count from 0, too: each has a learning rate of its own
    // (discriminative rates).
    void begin_part(int part, int group);
    int groups() const;

    // The layer functions return the index of the new layer, to be used as `x` of later ones. They
    // throw Error(usage) when shapes do not fit.
    int input(std::int64_t channels, std::int64_t height, std::int64_t width);
    int conv2d(const std::string& name, int x, std::int64_t out_channels, int kernel, int stride,
               int padding);
    // Of activations or of features.
    int batch_norm(const std::string& name, int x, bool zero_init = false, bool fastai_init = false);
    int relu(int x);
    int add(int a, int b);
    int max_pool(int x, int kernel, int stride, int padding);
    int global_average_pool(int x);
    int concat_pool(int x);              // each channel's maximum, then each mean
    int dropout(int x, double dropout);  // of features; nothing when evaluated
    int linear(const std::string& name, int x, std::int64_t out_features, bool bias = true,
               bool fastai_init = false);

    const std::vector<Layer>& layers() const { return layers_; }
    // In the order of torchvision's state_dict.
    const std::vector<Parameter>& parameters() const { return parameters_; }
    // Names of the batch norms, in order: running_mean, running_var and num_batches_tracked hang on
    // them.
    const std::vector<std::string>& statistics() const { return statistics_; }

    std::int64_t classes() const { return layers_.back().shape[0]; }
    std::int64_t parameter_count() const;

  private:
    int append(Layer layer);
    int add_parameter(const std::string& name, ParameterRole role, std::vector<std::int64_t> shape,
                      bool zero_init = false, bool fastai_init = false);

    std::vector<Layer> layers_;
    std::vector<Parameter> parameters_;
    std::vector<std::string> statistics_;
    int part_ = 0, group_ = 0;
};

enum class Stem : std::uint8_t {
    imagenet,  // 7x7 convolution of stride 2, then max pooling: a quarter of the size
    small,     // 3x3 convolution of stride 1, no pooling: for images of 32-64 pixels
};

enum class Head : std::uint8_t {
    linear,  // torchvision's: average pooling, then one linear layer, "fc"
    // fastai's create_head(): maximum and average pooling side by side, "head.bn1", dropout of half
    // the share, "head.fc1" to 512, ReLU, "head.bn2", dropout, "head.fc2". The linear layers have
    // no bias.
    fastai,
};

// The parts of every ResNet here, for freezing: the stem is 0, "layer1" to "layer4" are 1 to 4, the
// head is 5. Groups of learning rates are those that fastai splits a ResNet into: stem, layer1 and
// layer2; layer3 and layer4; the head.
inline constexpr int resnet_head_part = 5;

struct ResnetOptions {
    std::string arch = "resnet34";  // resnet18, resnet34, resnet50
    int classes = 1000;
    int size = 224;  // pixels, square
    Stem stem = Stem::imagenet;
    bool zero_init_residual = false;  // the last norm of each block starts at 0, as in torchvision
    Head head = Head::linear;
    double dropout = 0.5;  // of fastai's head
};

// He et al. 2015, as torchvision builds it (ResNet50 with the stride in the 3x3 convolution,
// "v1.5"). Throws Error(usage) for an unknown arch or a size below 32 (imagenet stem) or 8 (small).
Network resnet(const ResnetOptions& options);

}  // namespace onecycle
