// Finds the learning rate for a folder of images, trains with it, and saves the network:
//     train FOLDER MODEL.safetensors
#include <onecycle/learner.h>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: train FOLDER MODEL.safetensors\n");
        return 2;
    }
    try {
        const onecycle::TrainOptions options{
            .data = argv[1], .arch = "resnet18", .size = 64, .batch_size = 16, .epochs = 3};

        onecycle::Observer observer;
        observer.log = [](onecycle::LogLevel, const std::string& line) { std::puts(line.c_str()); };
        observer.on_epoch = [](const onecycle::EpochReport& epoch) {
            std::printf("epoch %d: loss %.3f, accuracy %.1f %%\n", static_cast<int>(epoch.epoch + 1),
                        epoch.valid_loss, 100 * epoch.accuracy);
        };

        const onecycle::Dataset dataset =
            onecycle::open_dataset(options.data, onecycle::dataset_options(options));
        onecycle::Learner learner(dataset, options, observer);

        const onecycle::RangeTestResult test = learner.find();
        if (test.analysis.suggestion)
            std::printf("steepest descent at a rate of %.2g\n", test.analysis.suggestion->lr);
        else
            std::printf("no clear descent: %s\n", test.analysis.reason.c_str());

        learner.fit({.max_lr = test.analysis.auto_lr.value_or(0.01)});
        learner.save(argv[2]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
