// Rows of cells from CSV text as spreadsheets and scripts write it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace onecycle {

struct CsvRow {
    std::size_t line = 0;  // that it begins on, from 1
    std::vector<std::string> cells;
};

// The next row of `text`, which it is cut from; one without cells when nothing is left. `line`
// counts. Lines that are blank are passed over, and so are blanks around cells. A cell in double
// quotes may hold the separator, line ends and doubled quotes. CR LF is fine.
CsvRow next_csv_row(std::string_view& text, std::size_t& line, char separator = ',');

// Without a byte order mark.
std::string_view without_byte_order_mark(std::string_view text);

}  // namespace onecycle
