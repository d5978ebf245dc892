// The words of other programs: what someone who comes from fastai, timm, torchvision's train.py or
// ultralytics types out of habit, and what it is called here.
#pragma once

#include <string>
#include <vector>

namespace onecycle::cli {

// What to write instead of the option `word` (with or without dashes, also `name=value`), given
// those that the verb has, as "--size VALUE" or "--quiet". `value` is what stood behind it, empty
// when nothing did. Empty: not known.
std::string instead_of_option(const std::string& word, const std::string& value,
                              const std::vector<std::string>& options);

// The verb, with options where it needs them; empty when the word is not known.
std::string instead_of_verb(const std::string& word);

// The member of `names` that `word` was probably meant to be: within two edits; else empty.
std::string nearest(const std::string& word, const std::vector<std::string>& names);

}  // namespace onecycle::cli
