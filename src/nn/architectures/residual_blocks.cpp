#include "nn/architectures/residual_blocks.h"

#include <algorithm>

#include "nn/architectures/fastai_head.h"

namespace onecycle {

namespace {

// A convolution and its norm.
struct Convolution {
    int channels, kernel, stride;
};

// A block: convolutions with a ReLU between them, and the way around them, which is a convolution
// of its own where the shape changes.
int residual_block(Network& net, const std::string& name, int x, const std::vector<Convolution>& convolutions,
                   bool zero_init) {
    const int out_channels = convolutions.back().channels;
    int y = x, stride = 1;
    for (std::size_t i = 0; i < convolutions.size(); ++i) {
        const Convolution& c = convolutions[i];
        const bool last = i + 1 == convolutions.size();
        const std::string number = std::to_string(i + 1);
        y = net.conv2d(name + ".conv" + number, y, c.channels, c.kernel, c.stride, c.kernel / 2);
        y = net.batch_norm(name + ".bn" + number, y, last && zero_init ? Initial::zero : Initial::usual);
        if (!last) y = net.relu(y);
        stride *= c.stride;
    }
    int identity = x;
    if (stride != 1 || net.layers()[static_cast<std::size_t>(x)].shape[0] != out_channels) {
        identity = net.conv2d(name + ".downsample.0", x, out_channels, 1, stride, 0);
        identity = net.batch_norm(name + ".downsample.1", identity);
    }
    return net.relu(net.add(y, identity));
}

Network residual_network(const ResidualShape& shape, const NetworkOptions& options) {
    Network net;
    net.begin_part("stem", 0);
    int x = net.input(3, options.size, options.size);
    const bool small = options.stem == Stem::small;
    x = small ? net.conv2d("conv1", x, 64, 3, 1, 1) : net.conv2d("conv1", x, 64, 7, 2, 3);
    x = net.relu(net.batch_norm("bn1", x));
    if (!small) x = net.max_pool(x, 3, 2, 1);
    for (int layer = 0; layer < 4; ++layer) {
        const std::string name = "layer" + std::to_string(layer + 1);
        net.begin_part(name, layer / 2);
        for (int block = 0; block < shape.blocks[static_cast<std::size_t>(layer)]; ++block) {
            const int stride = layer > 0 && block == 0 ? 2 : 1, width = shape.width << layer;
            const std::vector<Convolution> convolutions =
                shape.block == ResidualBlock::basic
                    ? std::vector<Convolution>{{width, 3, stride}, {width, 3, 1}}
                    : std::vector<Convolution>{{width, 1, 1}, {width, 3, stride}, {256 << layer, 1, 1}};
            x = residual_block(net, name + "." + std::to_string(block), x, convolutions,
                               options.zero_init_residual);
        }
    }
    net.begin_part("head", 2);
    if (options.head == Head::fastai)
        fastai_head(net, x, options.classes, options.dropout);
    else
        net.linear("fc", net.global_average_pool(x), options.classes);
    return net;
}

// The stem of the ResNet-D variants is three convolutions.
std::string near_miss(const std::vector<std::string>& names) {
    const std::string block = "layer1.0.conv1.weight";
    for (const std::string& name : names)
        if (name.ends_with(block) && std::ranges::find(names, name.substr(0, name.size() - block.size()) +
                                                                  "conv1.0.weight") != names.end())
            return "its stem is that of the ResNet-D variants (three convolutions), which are not built in";
    return "";
}

}  // namespace

Architecture residual_architecture(const std::string& name, const std::string& description,
                                   const ResidualShape& shape, std::vector<std::string> published) {
    return {.name = name,
            .description = description,
            .build = [shape](const NetworkOptions& options) { return residual_network(shape, options); },
            .smallest_size = 32,
            .smallest_size_small_stem = 8,
            .fastai_head = true,
            .published = std::move(published),
            .children = {"conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool",
                         "fc"},
            .near_miss = near_miss};
}

}  // namespace onecycle
