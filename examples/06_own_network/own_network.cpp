// Trains a network of one's own: nine convolutions, two of them in a residual branch.
//     own_network FOLDER MODEL.safetensors MODEL.onnx IMAGE
#include <onecycle/export.h>
#include <onecycle/learner.h>

#include <cstdio>
#include <exception>

using namespace onecycle;

Network nine_layers(const NetworkOptions& o) {
    Network net;
    const auto convolution = [&](const std::string& name, int x, int channels, int stride = 1) {
        return net.relu(net.batch_norm(name + ".bn", net.conv2d(name, x, channels, 3, stride, 1)));
    };
    net.begin_part("body", 0);
    int x = net.input(3, o.size, o.size);
    for (const int channels : {16, 32, 64}) {
        const std::string name = "conv" + std::to_string(channels);
        x = convolution(name + "b", convolution(name + "a", x, channels, 2), channels);
    }
    x = net.add(x, convolution("branch2", convolution("branch1", x, 64), 64));
    x = convolution("last", x, 128);
    net.begin_part("head", 1);
    net.linear("classes", net.global_average_pool(x), o.classes);
    return net;
}

int main(int argc, char** argv) try {
    if (argc != 5)
        return std::fprintf(stderr, "usage: own_network FOLDER MODEL.safetensors MODEL.onnx IMAGE\n"), 2;
    const Architecture own{
        .name = "nine-layers", .description = "an example", .build = nine_layers, .smallest_size = 16};
    const TrainOptions options{.data = argv[1], .size = 32, .batch_size = 16, .epochs = 6};
    Learner learner(open_dataset(options.data, dataset_options(options)), options, {}, own);
    const RangeTestResult test = learner.find({.steps = 60});
    const FitResult result = learner.fit({.max_lr = test.analysis.auto_lr.value_or(0.01)});
    std::printf("accuracy %.1f %%\n", 100 * result.epochs.back().accuracy);
    learner.save(argv[2]);

    Model model(argv[2], {}, own);
    const Prediction seen = model.predict({argv[4]}, 1).front();
    for (const Prediction::Entry& entry : seen.top)
        std::printf("%s (%.0f %%)\n", entry.label.c_str(), 100 * entry.probability);
    const ExportResult exported = export_model(argv[2], argv[3], {.force = true}, own);
    std::printf("%s: %d bytes\n", exported.file.c_str(), static_cast<int>(exported.bytes));
} catch (const std::exception& error) {
    return std::fprintf(stderr, "error: %s\n", error.what()), 1;
}
