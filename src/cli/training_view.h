// A training or a range test as people see it: what the learner reports, turned into lines on the
// console.
#pragma once

#include <string>

#include "cli/console.h"
#include "onecycle/learner.h"
#include "onecycle/report.h"

namespace onecycle {
class RunFolder;
}

namespace onecycle::cli {

class TrainingView {
  public:
    explicit TrainingView(Console& console) : console_(console) {}

    // Reports to this view, and stops at a signal. The view must outlive the learner.
    Observer observer();

    // Range tests inside a training are told with this context, and stored in this run (find/).
    void expect_tests(RunFolder& run, FindContext context) {
        run_ = &run;
        context_ = std::move(context);
    }

  private:
    void step(const StepReport& report);
    void epoch(const EpochReport& report);
    void range_test(const RangeTestResult& test);

    Console& console_;
    RunFolder* run_ = nullptr;
    FindContext context_;
    bool header_said_ = false;
};

// What the training of this learner is, for its range test.
FindContext context_of(const Learner& learner, const Dataset& dataset);

// The curve, the sentences and fastai's answers.
void say_range_test(Console& console, const RangeTestAnalysis& analysis, const FindContext& context);

// find.json, find.csv and find.svg, in `folder` of the run ("" or "find/").
void write_range_test(RunFolder& run, const std::string& folder, const RangeTestResult& test,
                      const FindContext& context, const std::optional<std::vector<RateTrial>>& trials = {});

}  // namespace onecycle::cli
