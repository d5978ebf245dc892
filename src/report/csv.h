// Reading columns of numbers from CSV text with a header row.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace onecycle {

// Columns of find_csv() beside the curve.
inline constexpr const char* usual_column = "usual";
inline constexpr const char* updates_column = "updates";

struct CsvColumns {
    std::vector<std::vector<double>> columns;  // in the order asked for
    std::vector<std::size_t> line;             // of each row in the text, from 1
};

// The named columns of `text`, wherever they stand, then those of `optional`: nan where one is
// missing or no number. Cells may read nan or inf; an empty one is nan. Blank lines, blanks around
// cells, quotes, a byte order mark and CRLF are fine. Throws Error(data) naming `where` and the
// line.
CsvColumns read_csv(std::string_view text, const std::vector<std::string>& names, const std::string& where,
                    const std::vector<std::string>& optional = {});

}  // namespace onecycle
