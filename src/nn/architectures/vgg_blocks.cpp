#include "nn/architectures/vgg_blocks.h"

#include "nn/architectures/fastai_head.h"

namespace onecycle {

Network vgg_network(const VggShape& shape, const NetworkOptions& options) {
    Network net;
    int x = -1, place = 0;  // in torchvision's `features`
    for (std::size_t block = 0; block < shape.channels.size(); ++block) {
        net.begin_part("block" + std::to_string(block + 1), block < 3 ? 0 : 1);
        if (block == 0) x = net.input(3, options.size, options.size);
        for (int i = 0; i < shape.convolutions[block]; ++i, place += 3) {
            x = net.conv2d("features." + std::to_string(place), x, shape.channels[block], 3, 1, 1, true);
            x = net.relu(net.batch_norm("features." + std::to_string(place + 1), x));
        }
        x = net.max_pool(x, 2, 2, 0);
        ++place;
    }
    net.begin_part("head", 2);
    if (options.head == Head::fastai) {
        fastai_head(net, x, options.classes, options.dropout);
        return net;
    }
    // At 224 pixels the activation is 7x7 and this only flattens it.
    x = net.adaptive_average_pool(x, 7);
    for (const char* name : {"classifier.0", "classifier.3"})
        x = net.dropout(net.relu(net.linear(name, x, shape.hidden, true, Initial::small_normal)),
                        options.dropout);
    net.linear("classifier.6", x, options.classes, true, Initial::small_normal);
    return net;
}

Architecture vgg_architecture(const std::string& name, const std::string& description, const VggShape& shape,
                              std::vector<std::string> published) {
    return {.name = name,
            .description = description,
            .build = [shape](const NetworkOptions& options) { return vgg_network(shape, options); },
            .smallest_size = 32,
            .fastai_head = true,
            .published = std::move(published)};
}

}  // namespace onecycle
