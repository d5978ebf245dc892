// Asks a trained network about images:
//     predict MODEL IMAGE...
#include <onecycle/model.h>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: predict MODEL IMAGE...\n");
        return 2;
    }
    try {
        onecycle::Model model(argv[1]);
        for (const onecycle::Prediction& prediction : model.predict({argv + 2, argv + argc}, 1)) {
            if (prediction.error.empty())
                std::printf("%s: %s (%.1f %%)\n", prediction.file.c_str(), prediction.top[0].label.c_str(),
                            100 * prediction.top[0].probability);
            else
                std::printf("%s: %s\n", prediction.file.c_str(), prediction.error.c_str());
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
