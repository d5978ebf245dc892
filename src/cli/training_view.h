// A training or a range test as people see it: what the learner reports, turned into lines on the console.
#pragma once

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

    // Range tests inside a training are stored here (find/).
    void store_tests_in(RunFolder* run) { run_ = run; }

  private:
    void step(const StepReport& report);
    void epoch(const EpochReport& report);

    Console& console_;
    RunFolder* run_ = nullptr;
    bool header_said_ = false;
};

// The curve, the sentence and fastai's answers.
void say_range_test(Console& console, const RangeTestAnalysis& analysis);

// find.json, find.csv and find.svg, in `folder` of the run ("" or "find/").
void write_range_test(RunFolder& run, const std::string& folder, const RangeTestResult& test);

}  // namespace onecycle::cli
