// What a message tells to paste must reach the program as it was meant: a shell is asked.
#include "core/shell_quoted.h"

#include <gtest/gtest.h>
#include <stdio.h>

#include <array>

using namespace onecycle;

namespace {

// The arguments that a shell makes of these words, a bar behind each.
std::string arguments_of(const std::string& words) {
    FILE* const shell = ::popen(("printf '%s|' " + words).c_str(), "r");
    std::string said;
    std::array<char, 256> piece;
    for (std::size_t n; (n = ::fread(piece.data(), 1, piece.size(), shell)) > 0;)
        said.append(piece.data(), n);
    ::pclose(shell);
    return said;
}

}  // namespace

TEST(ShellQuoted, a_shell_reads_any_path_as_one_argument) {
    for (const std::string path : {"photos", "/data/my photos",
                                   "it's",   "'",
                                   "a\"b",   "$HOME",
                                   "`id`",   "a;b",
                                   "a&b|c",  "(x)",
                                   "*?[a]",  "~",
                                   "#1",     "!x",
                                   "a\\b",   "a<b>c",
                                   "{a,b}",  "K\xC3\xA4tzchen",
                                   "",       "x=1"})
        EXPECT_EQ(arguments_of("before " + shell_quoted(path)), "before|" + path + "|") << shell_quoted(path);
}

TEST(ShellQuoted, usual_paths_stay_as_they_are) {
    EXPECT_EQ(shell_quoted("runs/photos-2"), "runs/photos-2");
    EXPECT_EQ(shell_quoted("K\xC3\xA4tzchen"), "K\xC3\xA4tzchen");
}
