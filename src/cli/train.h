// The verbs that train, `train` and `finetune`: what they share.
#pragma once

#include <string>
#include <vector>

#include "cli/verb.h"
#include "onecycle/learner.h"
#include "onecycle/run_folder.h"

namespace onecycle::cli {

inline constexpr const char* one_cycle_only = "--one-cycle-only";  // of finetune

class TrainingVerb : public Verb {
  public:
    explicit TrainingVerb(std::string name) : name_(std::move(name)) {}

    void declare(Arguments& arguments, const std::vector<std::string>& words) override;
    bool runs_on_ranks() const override { return true; }
    int run(const Arguments& arguments, Console& console) override;

  protected:
    // The defaults where neither a run nor a --config gives them.
    virtual TrainOptions defaults() const { return {}; }
    // What the options of this verb alone make of a new run's defaults.
    virtual void change_defaults(const std::vector<std::string>&, TrainOptions&) const {}
    // Options of this verb alone, declared after those that all share.
    virtual void declare_own(Arguments&) {}
    // Before a new run begins: checks and completes the options.
    virtual void prepare(const Arguments&, Console&, TrainOptions&) const {}

  private:
    Dataset open(Console& console) const;
    bool is_finished(Console& console, const Error& no_images) const;
    void report(Console& console, RunFolder& run, const FitResult& result, int shares) const;
    bool has_checkpoint(const Dataset& dataset, const Console& console) const;
    // Says how to go on where an image stops the training.
    static void draw(Console& console, RunFolder& run, double steps_per_epoch);
    FitResult fit(Learner& learner, RunFolder& run) const;
    // On few images someone's weights bring more than a training from scratch.
    void say_finetune(Console& console, const Dataset& dataset) const;
    void check_resume(const Arguments& arguments);
    void say_end(Console& console, const RunFolder& run, const FitResult& result) const;

    std::string name_;
    TrainOptions options_, before_;
    std::string out_, resume_;
};

}  // namespace onecycle::cli
