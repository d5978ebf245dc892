// The pictures and lines of a training.
#include <gtest/gtest.h>

#include <cmath>

#include "onecycle/error.h"
#include "onecycle/report.h"
#include "report/text.h"
#include "report/well_formed.h"

namespace onecycle {
namespace {

StepReport report_at(std::int64_t step) {
    return {.activity = StepReport::Activity::train,
            .step = step,
            .steps = 720,
            .epoch = step / 120,
            .epochs = 6,
            .loss = 1.3,
            .smoothed_loss = 1.2345,
            .lr = 3.21e-3,
            .momentum = 0.9,
            .images_per_second = 45.2,
            .seconds_left = 754};
}

TEST(TrainingCurves, are_read_from_the_logs_of_a_run) {
    const TrainingCurves c =
        read_training_curves("step,lr,momentum,loss\n0,0.001,0.95,2\n1,0.002,0.9,nan\n",
                             "epoch,train_loss,valid_loss,accuracy,lr,images_per_second,seconds\n"
                             "0,2,1.9,0.25,0.001,10,3\n1,1.5,1.4,0.5,0.001,10,3\n",
                             10);
    EXPECT_EQ(c.lr, (std::vector<double>{0.001, 0.002}));
    EXPECT_TRUE(std::isnan(c.loss[1]));
    EXPECT_EQ(c.epoch_step, (std::vector<double>{9, 19})) << "an epoch is measured after its last update";
    EXPECT_EQ(c.accuracy, (std::vector<double>{0.25, 0.5}));
    EXPECT_TRUE(read_training_curves("", "", 10).step.empty());
    EXPECT_THROW(read_training_curves("step,lr\n0,1\n", "", 10), Error);
}

TEST(TrainingSvg, is_well_formed_whatever_was_trained_and_stays_small) {
    TrainingCurves c;
    expect_well_formed(training_svg(c));
    for (int k = 0; k < 100000; ++k) {
        c.step.push_back(k);
        c.lr.push_back(0.01);
        c.momentum.push_back(0.9);
        c.loss.push_back(k % 1000 == 7 ? NAN : 2.0 - k / 1e5);
        if (k == 0) expect_well_formed(training_svg(c));
    }
    c.epoch_step = {49999, 99999};
    c.valid_loss = {INFINITY, 1.1};
    c.accuracy = {0.1, 0.7};
    const std::string svg = training_svg(c);
    expect_well_formed(svg);
    EXPECT_LT(svg.size(), 200'000u);
    EXPECT_EQ(svg, training_svg(c));
    EXPECT_NE(svg.find("accuracy 70.0 %"), std::string::npos);
}

TEST(Progress, fills_exactly_the_width_and_never_more) {
    for (int width = 40; width <= 200; ++width)
        for (const std::int64_t step : {0, 1, 359, 719}) {
            const std::string line = progress_bar(report_at(step), width);
            EXPECT_LE(columns(line), width);
            if (width < 80) continue;
            EXPECT_EQ(columns(line), width) << line;
        }
}

TEST(Progress, tells_loss_rate_speed_and_time_left) {
    for (const std::string& line : {progress_bar(report_at(122)), progress_line(report_at(122))})
        for (const char* part : {"epoch 1", "123/720", "1.234", "0.0032", "45.2 images/s", "12:34 left"})
            EXPECT_NE(line.find(part), std::string::npos) << line;
    EXPECT_EQ(progress_bar(report_at(719)).find("┄"), std::string::npos) << "full at the end";
    EXPECT_EQ(progress_bar(report_at(0)).find("━"), std::string::npos) << "empty at the start";
}

TEST(Progress, tells_the_size_where_it_changes) {
    StepReport report = report_at(122);
    report.size = 128;
    EXPECT_EQ(progress_line(report).rfind("epoch 1 128 px  step", 0), 0u) << progress_line(report);
    EXPECT_NE(progress_bar(report).find("epoch 1 128 px"), std::string::npos);
}

TEST(EpochTable, loses_columns_from_the_right_in_every_row_where_the_terminal_is_narrow) {
    EpochReport report{.epoch = 3,
                       .train_loss = 1.25,
                       .valid_loss = 0.5,
                       .accuracy = 0.875,
                       .lr = 0.01,
                       .images_per_second = 123.4,
                       .seconds = 5.6,
                       .interval = Interval{0.75, 0.95}};
    EXPECT_EQ(epoch_heading(true),
              "epoch  train loss  valid loss  accuracy        95 %       lr  images/s  seconds");
    EXPECT_EQ(epoch_line(report),
              "    3      1.2500      0.5000    87.5 %  75 to 95 %  1.0e-02     123.4      5.6");
    EXPECT_EQ(epoch_heading(true, 60), "epoch  train loss  valid loss  accuracy        95 %       lr");
    EXPECT_EQ(epoch_line(report, 60), "    3      1.2500      0.5000    87.5 %  75 to 95 %  1.0e-02");
    EXPECT_EQ(epoch_heading(true, 80), epoch_heading(true));
    report.interval.reset();
    report.valid_loss = -std::nan("");
    EXPECT_EQ(epoch_line(report), "    3      1.2500           –    87.5 %  1.0e-02     123.4      5.6");
    EXPECT_EQ(columns(epoch_heading(false)), columns(epoch_line(report)));
}

TEST(Progress, leaves_out_whole_figures_where_there_is_no_room) {
    const std::string line = progress_bar(report_at(122), 50);
    EXPECT_EQ(line, "epoch 1  123/720  loss 1.234  rate 0.0032");
}

TEST(Progress, promises_no_speed_and_no_end_before_the_first_step_was_timed) {
    StepReport report = report_at(0);
    report.images_per_second = report.seconds_left = 0;
    for (const std::string& line : {progress_bar(report, 80), progress_line(report)}) {
        EXPECT_EQ(line.find("images/s"), std::string::npos) << line;
        EXPECT_EQ(line.find("left"), std::string::npos) << line;
        EXPECT_NE(line.find("loss"), std::string::npos) << line;
    }
}

TEST(Text, durations_and_numbers_are_short) {
    EXPECT_EQ(duration(4.4), "4s");
    EXPECT_EQ(duration(59.6), "1:00");
    EXPECT_EQ(duration(3723), "1:02:03");
    EXPECT_EQ(duration(NAN), "?");
    EXPECT_EQ(short_number(0.00251), "0.0025");
    EXPECT_EQ(short_number(1e-7), "1e-7");
    EXPECT_EQ(short_number(12.5, 3), "12.5");
    EXPECT_EQ(power_of_ten(-12), "10⁻¹²");
}

}  // namespace
}  // namespace onecycle
