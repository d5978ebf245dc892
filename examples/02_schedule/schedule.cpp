// A schedule is plain data and a pure function of the step. This prints one-cycle as fastai defines
// it, ten updates of it, beside a schedule made by hand.
#include <onecycle/policy.h>
#include <onecycle/schedule.h>

#include <cstdio>

int main() {
    const onecycle::Schedule named =
        onecycle::make_schedule({.policy = "onecycle:fastai"}, {.epochs = 1, .steps_per_epoch = 10}, 0.1);

    // Five updates up, five down, the momentum held.
    onecycle::Schedule own{};
    own.steps = 10;
    own.count = 2;
    own.segments[0] = {.start = 0,
                       .end = 5,
                       .lr_start = 0.01,
                       .lr_end = 0.1,
                       .momentum_start = 0.9,
                       .momentum_end = 0.9,
                       .lr_curve = onecycle::Curve::linear,
                       .momentum_curve = onecycle::Curve::linear};
    own.segments[1] = {.start = 5,
                       .end = 9,
                       .lr_start = 0.1,
                       .lr_end = 0.001,
                       .momentum_start = 0.9,
                       .momentum_end = 0.9,
                       .lr_curve = onecycle::Curve::exponential,
                       .momentum_curve = onecycle::Curve::linear};

    std::printf("step  fastai: lr  momentum    own: lr\n");
    for (int step = 0; step < 10; ++step) {
        const auto a = onecycle::evaluate(named, step);
        const auto b = onecycle::evaluate(own, step);
        std::printf("%4d  %10.6f  %8.4f  %9.6f\n", step, a.lr, a.momentum, b.lr);
    }
}
