#include "report/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "onecycle/error.h"

namespace onecycle {

namespace {

[[noreturn]] void refuse(const std::string& where, std::size_t line, const std::string& why,
                         const std::string& fix) {
    throw Error(ErrorKind::data, "cannot read the CSV file", fmt::format("{} line {}", where, line), why,
                fix);
}

std::string_view trimmed(std::string_view text) {
    const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    while (!text.empty() && blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && blank(text.back())) text.remove_suffix(1);
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
    return text;
}

std::vector<std::string_view> cells_of(std::string_view line) {
    std::vector<std::string_view> cells;
    for (std::size_t from = 0;;) {
        const std::size_t to = line.find(',', from);
        cells.push_back(trimmed(line.substr(from, to - from)));
        if (to == std::string_view::npos) return cells;
        from = to + 1;
    }
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
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
    CsvColumns out;
    out.columns.resize(names.size() + optional.size());
    std::vector<std::size_t> place;  // of each column among the cells; empty before the header row
    for (std::size_t line = 1; !text.empty(); ++line) {
        const std::size_t end = text.find('\n');
        const std::string_view row = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (trimmed(row).empty()) continue;
        const auto cells = cells_of(row);
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
