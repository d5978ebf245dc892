// A check that text is well-formed XML without a number that is none. Enough for the SVG that we
// write.
#pragma once

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "onecycle/error.h"

namespace onecycle {

inline void expect_well_formed(const std::string& svg) {
    ASSERT_EQ(svg.rfind("<svg xmlns=\"http://www.w3.org/2000/svg\"", 0), 0u);
    std::string line;
    for (std::istringstream lines(svg); std::getline(lines, line);)
        EXPECT_EQ(printable(line), line) << "XML has no such character";
    std::vector<std::string> open;
    std::size_t at = 0;
    while (at < svg.size()) {
        const std::size_t start = svg.find('<', at);
        const std::string text = svg.substr(at, start - at);
        for (std::size_t i = text.find('&'); i != std::string::npos; i = text.find('&', i + 1))
            EXPECT_TRUE(text.compare(i, 5, "&amp;") == 0 || text.compare(i, 4, "&lt;") == 0 ||
                        text.compare(i, 4, "&gt;") == 0)
                << text;
        if (start == std::string::npos) break;
        const std::size_t end = svg.find('>', start);
        ASSERT_NE(end, std::string::npos);
        const std::string tag = svg.substr(start + 1, end - start - 1);
        at = end + 1;
        if (tag[0] == '/') {
            ASSERT_FALSE(open.empty()) << tag;
            EXPECT_EQ(open.back(), tag.substr(1));
            open.pop_back();
        } else if (tag.back() != '/') {
            open.push_back(tag.substr(0, tag.find(' ')));
        }
        for (const char* bad : {"nan", "inf"})
            EXPECT_EQ(tag.find(std::string("\"") + bad), std::string::npos) << tag;
        if (tag.find(" d=\"") == std::string::npos) continue;
        for (const char* bad : {"nan", "inf", "e+"}) EXPECT_EQ(tag.find(bad), std::string::npos) << tag;
    }
    EXPECT_TRUE(open.empty());
}

}  // namespace onecycle
