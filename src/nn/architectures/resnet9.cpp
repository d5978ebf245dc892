// The nine-layer network that is known from fast training on CIFAR-10 (after David Page, "How to
// train your ResNet", 2018): two residual branches, maximum pooling in place of strides. For images
// of 32 to 64 pixels. No weights of it are published.
#include "nn/architectures/fastai_head.h"
#include "onecycle/network.h"

namespace onecycle::built_in {

namespace {

int convolution(Network& net, const std::string& name, int x, int channels) {
    x = net.conv2d(name + ".0", x, channels, 3, 1, 1);
    return net.relu(net.batch_norm(name + ".1", x));
}

int pooled(Network& net, const std::string& name, int x, int channels) {
    return net.max_pool(convolution(net, name, x, channels), 2, 2, 0);
}

int with_branch(Network& net, const std::string& name, int x, int channels) {
    const int inner = convolution(net, name + ".0", x, channels);
    return net.add(convolution(net, name + ".1", inner, channels), x);
}

Network build(const NetworkOptions& options) {
    Network net;
    net.begin_part("stem", 0);
    int x = convolution(net, "conv1", net.input(3, options.size, options.size), 64);
    net.begin_part("layer1", 0);
    x = with_branch(net, "res1", pooled(net, "conv2", x, 128), 128);
    net.begin_part("layer2", 1);
    x = pooled(net, "conv3", x, 256);
    net.begin_part("layer3", 1);
    x = with_branch(net, "res2", pooled(net, "conv4", x, 512), 512);
    net.begin_part("head", 2);
    if (options.head == Head::fastai)
        fastai_head(net, x, options.classes, options.dropout);
    else
        net.linear("fc", net.global_average_pool(x), options.classes);
    return net;
}

}  // namespace

Architecture resnet9() {
    return {.name = "resnet9",
            .description = "nine layers with two residual branches, for small images",
            .build = build,
            .smallest_size = 8,
            .fastai_head = true};
}

}  // namespace onecycle::built_in
