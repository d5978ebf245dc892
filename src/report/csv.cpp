#include "report/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "core/csv_rows.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

[[noreturn]] void refuse(const std::string& where, std::size_t line, const std::string& why,
                         const std::string& fix) {
    throw Error(ErrorKind::data, "cannot read the CSV file", fmt::format("{} line {}", where, line), why,
                fix);
}

// nan and inf in any case are numbers here.
std::optional<double> number(std::string_view cell) {
    if (cell.empty()) return std::numeric_limits<double>::quiet_NaN();
    if (cell.front() == '+') cell.remove_prefix(1);
    double value = 0;
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (error != std::errc{} || end != cell.data() + cell.size()) return std::nullopt;
    return value;
}

}  // namespace

CsvColumns read_csv(std::string_view text, const std::vector<std::string>& names, const std::string& where,
                    const std::vector<std::string>& optional) {
    constexpr std::size_t nowhere = std::string_view::npos;
    text = without_byte_order_mark(text);
    CsvColumns out;
    out.columns.resize(names.size() + optional.size());
    std::vector<std::size_t> place;  // of each column among the cells; empty before the header row
    std::size_t lines = 0;
    for (CsvRow row = next_csv_row(text, lines); !row.cells.empty(); row = next_csv_row(text, lines)) {
        const auto& [line, cells] = row;
        if (place.empty()) {
            for (const std::string& name : names) {
                const auto found = std::find(cells.begin(), cells.end(), name);
                if (found == cells.end())
                    refuse(where, line, fmt::format("the header row has no column \"{}\"", name),
                           fmt::format("begin the file with a row such as {}", fmt::join(names, ",")));
                place.push_back(static_cast<std::size_t>(found - cells.begin()));
            }
            for (const std::string& name : optional) {
                const auto found = std::find(cells.begin(), cells.end(), name);
                place.push_back(found == cells.end() ? nowhere
                                                     : static_cast<std::size_t>(found - cells.begin()));
            }
            continue;
        }
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (place[i] >= cells.size())
                refuse(where, line, fmt::format("the column \"{}\" is missing", names[i]),
                       "give every row as many cells as the header");
            const auto value = number(cells[place[i]]);
            if (!value)
                refuse(where, line, fmt::format("\"{}\" is not a number", cells[place[i]].substr(0, 40)),
                       "write numbers with a decimal point, nan or inf");
            out.columns[i].push_back(*value);
        }
        for (std::size_t i = names.size(); i < place.size(); ++i)
            out.columns[i].push_back(place[i] < cells.size() ? number(cells[place[i]]).value_or(NAN) : NAN);
        out.line.push_back(line);
    }
    if (place.empty())
        refuse(where, 1, "the file is empty",
               fmt::format("begin it with a row such as {}", fmt::join(names, ",")));
    return out;
}

}  // namespace onecycle
