// The classes of a data set by their names: folders or labels that are the same text are one class.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "onecycle/log.h"

namespace onecycle {

// Class names as they are shown and sorted: one for all spellings that are the same text.
class ClassNames {
  public:
    void add(const std::string& name, bool in_training);
    bool in_training(const std::string& name) const;

    // Names that are all numbers are to be sorted as such: 2 before 10.
    void sort_numbers() { numbers_ = true; }

    // Sorted by bytes. A class of one spelling keeps it; the training side's counts. Those of
    // evaluation alone only where asked for.
    std::vector<std::string> sorted(bool with_evaluation);
    // After sorted(): its index there; -1: no class.
    int label(const std::string& name) const;

    // Names that are one class although their bytes differ, and classes whose names are easily
    // confused.
    void tell(const LogSink& log) const;

    // The training class that `name` may have meant, spelled so that the difference is seen; else
    // empty.
    std::string meant_by(const std::string& name) const;

  private:
    struct Spellings {
        std::set<std::string> training, evaluation;
        std::string shown{};
        int label = -1;
    };
    std::map<std::string, Spellings> by_text_;  // by normalised name
    bool numbers_ = false;
};

}  // namespace onecycle
