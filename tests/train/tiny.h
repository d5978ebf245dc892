// A training that takes a second: a few demo images of 32 pixels, a ResNet18.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "onecycle/demo_data.h"
#include "onecycle/learner.h"
#include "onecycle/run_folder.h"
#include "temporary_folder.h"

namespace onecycle::testing {

using test::TemporaryFolder;

// 3 classes of 12 images: 30 to train on, 6 to evaluate on. Made once in a test program.
inline const std::string& tiny_images() {
    static const TemporaryFolder folder;
    static const std::string path = [] {
        const std::string images = folder / "images";
        make_demo_data(images, {.classes = 3, .images_per_class = 12, .size = 40});
        return images;
    }();
    return path;
}

// 2 epochs of 3 steps.
inline TrainOptions tiny_options() {
    return {.data = tiny_images(),
            .arch = "resnet18",
            .size = 32,
            .batch_size = 8,
            .epochs = 2,
            .max_lr = 0.02,
            .threads = 2};
}

inline Dataset tiny_dataset() {
    static const Dataset dataset = open_dataset(tiny_images());
    return dataset;
}

// Two convolutions beside each other: where a test is of the loop around the network, and the
// device is the slow emulated one.
inline Architecture tiny_architecture() {
    return {.name = "tiny", .description = "of tests", .build = [](const NetworkOptions& options) {
                Network net;
                net.begin_part("eye", 0);
                int x = net.input(3, options.size, options.size);
                x = net.relu(net.batch_norm("bn1", net.conv2d("conv1", x, 16, 3, 2, 1)));
                const int y = net.batch_norm("bn2", net.conv2d("conv2", x, 16, 3, 1, 1));
                x = net.relu(net.add(y, x));
                net.begin_part("head", 1);
                net.linear("fc", net.global_average_pool(x), options.classes);
                return net;
            }};
}

inline std::string read_text(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// metrics.csv without its last two columns, which are times.
inline std::string without_times(const std::string& csv) {
    std::string result;
    for (std::size_t at = 0; at < csv.size();) {
        const std::size_t end = csv.find('\n', at);
        std::string line = csv.substr(at, end - at);
        for (int column = 0; column < 2; ++column) line.erase(line.rfind(','));
        result += line + "\n";
        at = end + 1;
    }
    return result;
}

}  // namespace onecycle::testing
