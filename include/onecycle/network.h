// A network as a graph of layers, declared once and without a batch size. The compiler (src/nn)
// turns it into the list of steps that runs. Names are torchvision's, so that weights move between
// the two.
//
// An architecture: how a network is built, and what must be known of it to train it, to freeze
// parts of it and to read its weights. The built-in ones have names (`--arch`), a file each in
// src/nn/architectures. A learner takes one of yours just as well:
//
//     const onecycle::Architecture own{.name = "two-layers", .build = [](const onecycle::NetworkOptions& o) {
//         onecycle::Network net;
//         int x = net.input(3, o.size, o.size);
//         x = net.relu(net.batch_norm("bn", net.conv2d("conv", x, 32, 3, 2, 1)));
//         net.linear("fc", net.global_average_pool(x), o.classes);
//         return net;
//     }};
//     onecycle::Learner learner(dataset, options, {}, own);
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
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
    adaptive_average_pool,
    concat_pool,
    dropout,
    linear,
};

// What a parameter is decides its initial values and whether weight decay applies.
enum class ParameterRole : std::uint8_t {
    conv_weight,
    conv_bias,
    norm_weight,
    norm_bias,
    linear_weight,
    linear_bias,
};

// How a parameter begins.
enum class Initial : std::uint8_t {
    // Convolutions: Kaiming normal with fan-out, biases 0. Norms: 1 and 0. Linear layers: uniform
    // within 1/sqrt(inputs), weights and biases, as torch.nn.Linear.
    usual,
    zero,          // norm weights of --zero-init-residual
    fastai,        // of fastai's head: Kaiming normal with fan-in; 1e-3 for biases of norms
    small_normal,  // linear layers of torchvision's VGG: normal of deviation 0.01, biases 0
};

struct Parameter {
    std::string name;  // "layer1.0.conv1.weight"
    ParameterRole role{};
    std::vector<std::int64_t> shape;  // PyTorch's order
    Initial initial = Initial::usual;
    int part = 0, group = 0;  // see Network::begin_part
};

struct Layer {
    LayerKind kind{};
    // "layer1.0.conv1"; empty for layers without parameters.
    std::string name;
    std::vector<int> inputs;              // layers
    std::array<std::int64_t, 3> shape{};  // of the output: channels, height, width
    // Of adaptive_average_pool, kernel is the side of its result.
    int kernel = 0, stride = 1, padding = 0;
    double dropout = 0;           // the share that a dropout layer drops in training
    int part = 0;                 // see Network::begin_part
    std::vector<int> parameters;  // indices into Network::parameters()
    int statistics = -1;          // batch norm: which pair of running statistics
};

class Network {
  public:
    // Begins a part: the layers that follow belong to it. Freezing takes the first so many parts,
    // up to the one that --freeze names; the last one is the head, and "body" all the others. A
    // network without a call is one part. Groups count from 0 along the network: each has a
    // learning rate of its own (discriminative rates).
    void begin_part(const std::string& name, int group);
    const std::vector<std::string>& parts() const { return parts_; }
    // The number of the last part: so many come before it.
    int head_part() const { return parts_.empty() ? 0 : static_cast<int>(parts_.size()) - 1; }
    int groups() const;
    // The largest number of convolutions, one after the other, between the pixels and the result.
    int depth() const;

    // The layer functions return the index of the new layer, to be used as `x` of later ones. They
    // throw Error(usage) when shapes do not fit.
    int input(std::int64_t channels, std::int64_t height, std::int64_t width);
    int conv2d(const std::string& name, int x, std::int64_t out_channels, int kernel, int stride, int padding,
               bool bias = false);
    // Of activations or of features.
    int batch_norm(const std::string& name, int x, Initial initial = Initial::usual);
    int relu(int x);
    int add(int a, int b);
    int max_pool(int x, int kernel, int stride, int padding);
    int global_average_pool(int x);
    // The means over side x side windows that cover x, as torch.nn.AdaptiveAvgPool2d, flattened to
    // features in the order channel, row, column. x may be smaller than that: windows then overlap.
    int adaptive_average_pool(int x, int side);
    int concat_pool(int x);              // each channel's maximum, then each mean
    int dropout(int x, double dropout);  // of features; nothing when evaluated
    int linear(const std::string& name, int x, std::int64_t out_features, bool bias = true,
               Initial initial = Initial::usual);

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
                      Initial initial = Initial::usual);

    std::vector<Layer> layers_;
    std::vector<Parameter> parameters_;
    std::vector<std::string> statistics_;
    std::vector<std::string> parts_;
    int group_ = 0;
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

// The one that is trained where nobody says which.
inline constexpr const char* default_architecture = "resnet34";

struct NetworkOptions {
    int classes = 1000;
    int size = 224;  // pixels, square
    Stem stem = Stem::imagenet;
    // The last norm of each residual block starts at 0, as in torchvision.
    bool zero_init_residual = false;
    Head head = Head::linear;
    double dropout = 0.5;  // of a head that has dropout
};

struct Architecture {
    std::string name{};         // stands in files: "arch"
    std::string description{};  // one line, without a full stop

    // Builds the network: an input of 3 channels, any layers, at last a linear one with
    // options.classes outputs. Equal options must give equal networks, and names, shapes and order
    // of the parameters must not depend on options.size: sizes change during a training.
    std::function<Network(const NetworkOptions&)> build{};

    int smallest_size = 1;  // pixels
    // Likewise with Stem::small; empty: there is one stem only.
    std::optional<int> smallest_size_small_stem{};
    // Whether `build` follows NetworkOptions::head.
    bool fastai_head = false;

    // Names of files at https://download.pytorch.org/models/ that hold trained weights, the one to
    // begin with first. They carry the first digits of the files' SHA-256.
    std::vector<std::string> published{};
    // The modules of PyTorch's network in order, where files name them by their places, as those of
    // torch.nn.Sequential(*net.children()) do. Empty: no such files are known.
    std::vector<std::string> children{};
    // Says why a file whose tensors have these names is not of this architecture though it looks
    // so; empty: says nothing. May be null.
    std::function<std::string(const std::vector<std::string>&)> near_miss{};

    // The network for these options, checked. Throws Error(usage) for a size below the smallest, a
    // stem or head that it does not have, no classes, and for what `build` returns if that is no
    // classifier of so many classes.
    Network make(const NetworkOptions& options) const;
    int smallest(Stem stem) const;  // throws Error(usage) for a stem that it does not have
    void require(Head head) const;  // likewise
};

// The built-in ones.
const std::vector<Architecture>& architectures();

// Throws Error(usage) for an unknown name: lists those there are and the nearest.
const Architecture& architecture(const std::string& name);

// "a, b or c": their names, for help texts.
std::string architecture_names();

}  // namespace onecycle
