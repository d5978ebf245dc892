// A training or a range test as people see it: what the learner reports, turned into lines on the console.
#pragma once

#include <cstdint>
#include <string>

#include "cli/console.h"
#include "onecycle/learner.h"

namespace onecycle {
class RunFolder;
}

namespace onecycle::cli {

class TrainingView {
  public:
    explicit TrainingView(Console& console) : console_(console) {}

    // Reports to this view, and stops at a signal. The view must outlive the learner.
    Observer observer();

    // Tells the view what the expected time is about: updates of the whole training, image size.
    void expect(std::int64_t training_steps, int size);

    // Range tests inside a training are stored here (find/).
    void store_tests_in(RunFolder* run) { run_ = run; }

  private:
    void step(const StepReport& report);
    void epoch(const EpochReport& report);
    void estimate(const StepReport& report);

    Console& console_;
    RunFolder* run_ = nullptr;
    std::int64_t training_steps_ = 0;
    int size_ = 0;
    int steps_seen_ = 0;
    bool header_said_ = false;
};

// The curve, the sentence and fastai's answers.
void say_range_test(Console& console, const RangeTestAnalysis& analysis);

// find.json, find.csv and find.svg, in `folder` of the run ("" or "find/").
void write_range_test(RunFolder& run, const std::string& folder, const RangeTestResult& test);

// "45 s", "12 min", "3.5 h".
std::string duration(double seconds);

}  // namespace onecycle::cli
