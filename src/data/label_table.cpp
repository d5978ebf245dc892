#include "data/label_table.h"

#include <algorithm>
#include <string_view>

#include "core/csv_rows.h"
#include "core/file.h"
#include "core/unicode.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

constexpr std::size_t nowhere = std::string::npos;

[[noreturn]] void refuse(const LabelTable& table, std::size_t line, const std::string& why,
                         const std::string& fix) {
    throw Error(ErrorKind::data, "cannot use labels", table.path + " line " + std::to_string(line), why, fix);
}

// The one that the header row has most of.
char separator_of(std::string_view text) {
    const std::string_view header = text.substr(0, text.find('\n'));
    char best = ',';
    for (const char c : {';', '\t'})
        if (std::count(header.begin(), header.end(), c) > std::count(header.begin(), header.end(), best))
            best = c;
    return best;
}

std::size_t column_of(const CsvRow& header, const char* name) {
    const auto found = std::find_if(header.cells.begin(), header.cells.end(),
                                    [&](const std::string& cell) { return lower_case(cell) == name; });
    return found == header.cells.end() ? nowhere : static_cast<std::size_t>(found - header.cells.begin());
}

std::string listed(const std::vector<std::string>& cells) {
    std::string text;
    for (const std::string& cell : cells) text += (text.empty() ? "" : ",") + cell;
    return text.substr(0, 80);
}

}  // namespace

LabelTable read_label_table(const std::string& path) {
    return parse_label_table(read_file(posix_file_system(), path, ErrorKind::data, std::uint64_t{1} << 30),
                             path);
}

LabelTable parse_label_table(std::string_view bytes, const std::string& path) {
    LabelTable table{.path = path};
    if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF"))
        refuse(table, 1, "it is UTF-16 text", "save it as CSV in UTF-8");
    std::string_view text = without_byte_order_mark(bytes);
    const char separator = separator_of(text);
    std::size_t line = 0;
    const CsvRow header = next_csv_row(text, line, separator);
    if (header.cells.empty()) refuse(table, 1, "the file is empty", "begin it with the row file,label");
    const std::size_t file = column_of(header, "file"), label = column_of(header, "label"),
                      split = column_of(header, "split");
    for (const auto& [place, name] : {std::pair(file, "file"), {label, "label"}})
        if (place == nowhere)
            refuse(table, header.line,
                   std::string("the header row has no column '") + name + "', only " + listed(header.cells),
                   "name the columns file and label");
    table.has_splits = split != nowhere;

    for (CsvRow row = next_csv_row(text, line, separator); !row.cells.empty();
         row = next_csv_row(text, line, separator)) {
        const auto cell = [&](std::size_t column, const char* name) {
            if (column >= row.cells.size() || row.cells[column].empty())
                refuse(table, row.line, std::string("the cell '") + name + "' is empty",
                       "fill it in, or remove the row");
            return row.cells[column];
        };
        LabelRow entry{row.line, cell(file, "file"), cell(label, "label")};
        if (entry.file.find('\0') != std::string::npos || entry.label.find('\0') != std::string::npos)
            refuse(table, row.line, "it holds a zero byte", "save the file as CSV in UTF-8");
        if (table.has_splits) {
            const std::string name = cell(split, "split");
            const auto known = split_name(name);
            if (!known || !known->rest.empty())
                refuse(table, row.line, "'" + name + "' is no split", "write train, val or test");
            entry.split = known->kind;
        }
        table.rows.push_back(std::move(entry));
    }
    if (table.rows.empty())
        refuse(table, header.line, "no row follows the header", "add a row for each image");
    return table;
}

}  // namespace onecycle
