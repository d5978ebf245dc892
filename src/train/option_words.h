// The words that options take.
#pragma once

#include <initializer_list>
#include <string>

namespace onecycle {

[[noreturn]] void refuse_option(const std::string& option, const std::string& why, const std::string& fix);

// Throws Error(usage) that lists the words where `value` is none of them.
void require_one_of(const char* option, const std::string& value, std::initializer_list<const char*> words);

}  // namespace onecycle
