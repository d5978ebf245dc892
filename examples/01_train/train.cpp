// Finds the learning rate for a folder of images, trains with it, and saves the network:
//     train FOLDER MODEL.safetensors
#include <onecycle/learner.h>
#include <onecycle/report.h>

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
            std::printf("epoch %d: loss %.3f, accuracy %.1f %%\n", static_cast<int>(epoch.epoch),
                        epoch.valid_loss, 100 * epoch.accuracy);
        };

        onecycle::Learner learner(options, observer);
        const onecycle::RangeTestResult test = learner.find();
        const onecycle::FindContext context{.origin = onecycle::FindContext::Origin::training,
                                            .updates = options.epochs * learner.steps_per_epoch()};
        std::printf("%s\n", onecycle::find_sentence(test.analysis, context).c_str());

        // Empty: fit() decides, as it does where there is no clear descent.
        learner.fit({.max_lr = onecycle::rate_to_train_with(test.analysis, context)});
        learner.save(argv[2]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
