// Reads a learning-rate curve that any program saved (columns lr and loss) and says what it tells:
//     range_test curve.csv
#include <onecycle/report.h>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: range_test curve.csv\n");
        return 2;
    }
    try {
        const onecycle::LossCurve curve = onecycle::read_curve_csv(argv[1]);
        const onecycle::FindContext context{.updates = curve.updates};
        const onecycle::RangeTestAnalysis analysis = onecycle::analyse_range_test(
            curve.lr, curve.loss,
            {.usual_lr = curve.usual_lr, .usual_alone = onecycle::shorter_than_test(context)});
        std::printf("%s%s\n", onecycle::find_plot(analysis, context).c_str(),
                    onecycle::find_sentence(analysis, context).c_str());
        for (const std::string& line : onecycle::find_reasons(analysis, context))
            std::printf("%s\n", line.c_str());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
}
