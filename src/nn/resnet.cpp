// ResNet18, 34 and 50. Layer names and the order of parameters are torchvision's, so a state_dict
// saved there fits here and the other way round.
#include "onecycle/error.h"
#include "onecycle/network.h"

namespace onecycle {

namespace {

// Two 3x3 convolutions (ResNet18 and 34).
int basic_block(Network& net, const std::string& name, int x, int channels, int stride, bool zero_init) {
    const bool downsample = stride != 1 || net.layers()[static_cast<std::size_t>(x)].shape[0] != channels;
    int y = net.conv2d(name + ".conv1", x, channels, 3, stride, 1);
    y = net.relu(net.batch_norm(name + ".bn1", y));
    y = net.conv2d(name + ".conv2", y, channels, 3, 1, 1);
    y = net.batch_norm(name + ".bn2", y, zero_init);
    int identity = x;
    if (downsample) {
        identity = net.conv2d(name + ".downsample.0", x, channels, 1, stride, 0);
        identity = net.batch_norm(name + ".downsample.1", identity);
    }
    return net.relu(net.add(y, identity));
}

// 1x1, 3x3 and 1x1 convolutions; the stride is in the 3x3 (ResNet50 as torchvision has it).
int bottleneck(Network& net, const std::string& name, int x, int channels, int stride, bool zero_init) {
    const int out_channels = channels * 4;
    const bool downsample = stride != 1 || net.layers()[static_cast<std::size_t>(x)].shape[0] != out_channels;
    int y = net.conv2d(name + ".conv1", x, channels, 1, 1, 0);
    y = net.relu(net.batch_norm(name + ".bn1", y));
    y = net.conv2d(name + ".conv2", y, channels, 3, stride, 1);
    y = net.relu(net.batch_norm(name + ".bn2", y));
    y = net.conv2d(name + ".conv3", y, out_channels, 1, 1, 0);
    y = net.batch_norm(name + ".bn3", y, zero_init);
    int identity = x;
    if (downsample) {
        identity = net.conv2d(name + ".downsample.0", x, out_channels, 1, stride, 0);
        identity = net.batch_norm(name + ".downsample.1", identity);
    }
    return net.relu(net.add(y, identity));
}

// fastai 2's create_head() with its defaults; `dropout` is its `ps`.
void fastai_head(Network& net, int x, int classes, double dropout) {
    x = net.batch_norm("head.bn1", net.concat_pool(x), false, true);
    x = net.linear("head.fc1", net.dropout(x, dropout / 2), 512, false, true);
    x = net.batch_norm("head.bn2", net.relu(x), false, true);
    net.linear("head.fc2", net.dropout(x, dropout), classes, false, true);
}

}  // namespace

Network resnet(const ResnetOptions& options) {
    struct Family {
        const char* name;
        bool bottleneck;
        int blocks[4];
    };
    static constexpr Family families[] = {
        {"resnet18", false, {2, 2, 2, 2}},
        {"resnet34", false, {3, 4, 6, 3}},
        {"resnet50", true, {3, 4, 6, 3}},
    };
    const Family* family = nullptr;
    for (const Family& candidate : families)
        if (options.arch == candidate.name) family = &candidate;
    if (!family)
        throw Error(ErrorKind::usage, "unknown architecture", options.arch, "it is not built in",
                    "use resnet18, resnet34 or resnet50");

    if (options.classes < 1)
        throw Error(ErrorKind::usage, "cannot build the network",
                    "--classes " + std::to_string(options.classes), "it needs an output", "give 1 or more");
    Network net;
    int x = net.input(3, options.size, options.size);
    if (options.stem == Stem::imagenet) {
        x = net.conv2d("conv1", x, 64, 7, 2, 3);
        x = net.relu(net.batch_norm("bn1", x));
        x = net.max_pool(x, 3, 2, 1);
    } else {
        x = net.conv2d("conv1", x, 64, 3, 1, 1);
        x = net.relu(net.batch_norm("bn1", x));
    }
    for (int stage = 0; stage < 4; ++stage) {
        net.begin_part(stage + 1, stage / 2);
        for (int block = 0; block < family->blocks[stage]; ++block) {
            const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(block);
            const int stride = stage > 0 && block == 0 ? 2 : 1;
            x = (family->bottleneck ? bottleneck : basic_block)(net, name, x, 64 << stage, stride,
                                                                options.zero_init_residual);
        }
    }
    net.begin_part(resnet_head_part, 2);
    if (options.head == Head::fastai)
        fastai_head(net, x, options.classes, options.dropout);
    else
        net.linear("fc", net.global_average_pool(x), options.classes);
    return net;
}

}  // namespace onecycle
