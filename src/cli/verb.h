// A verb of the program: its options, and what it does. Verbs are thin: the work is the library's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/console.h"

namespace onecycle::cli {

class Verb {
  public:
    virtual ~Verb() = default;

    // Binds the options; `words` is the whole command line, for options that change others'
    // defaults.
    virtual void declare(Arguments& arguments, const std::vector<std::string>& words) = 0;

    // Does the work and returns the exit code. Throws Error.
    virtual int run(const Arguments& arguments, Console& console) = 0;

    // Whether several ranks share its work; else rank 0 alone does it.
    virtual bool runs_on_ranks() const { return false; }

    const ConsoleOptions& console_options() const { return console_options_; }

  protected:
    ConsoleOptions console_options_;
};

std::unique_ptr<Verb> make_find();
std::unique_ptr<Verb> make_train();
std::unique_ptr<Verb> make_finetune();
std::unique_ptr<Verb> make_eval();
std::unique_ptr<Verb> make_predict();
std::unique_ptr<Verb> make_export();
std::unique_ptr<Verb> make_plan();
std::unique_ptr<Verb> make_info();
std::unique_ptr<Verb> make_profile();
std::unique_ptr<Verb> make_doctor();
std::unique_ptr<Verb> make_demo_data();
std::unique_ptr<Verb> make_pack();

}  // namespace onecycle::cli
