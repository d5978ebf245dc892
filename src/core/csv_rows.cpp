#include "core/csv_rows.h"

namespace onecycle {

namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

void trim_end(std::string& cell) {
    while (!cell.empty() && is_blank(cell.back())) cell.pop_back();
}

}  // namespace

CsvRow next_csv_row(std::string_view& text, std::size_t& line, char separator) {
    CsvRow row;
    std::size_t at = 0;
    const auto blank = [&](char c) { return is_blank(c) && c != separator; };
    while (at < text.size() && row.cells.empty()) {
        row.line = ++line;
        for (bool more = true; more;) {
            while (at < text.size() && blank(text[at])) ++at;
            std::string cell;
            bool quoted = false;
            if (at < text.size() && text[at] == '"') {
                quoted = true;
                for (++at; at < text.size(); ++at) {
                    if (text[at] == '"' && (at + 1 >= text.size() || text[at + 1] != '"')) break;
                    if (text[at] == '"') ++at;
                    if (text[at] == '\n') ++line;
                    cell += text[at];
                }
                if (at < text.size()) ++at;
            }
            std::string rest;
            while (at < text.size() && text[at] != separator && text[at] != '\n') rest += text[at++];
            trim_end(rest);
            cell += rest;
            more = at < text.size() && text[at] == separator;
            if (at < text.size()) ++at;
            const bool blank_line = !more && row.cells.empty() && cell.empty() && !quoted;
            if (!blank_line) row.cells.push_back(std::move(cell));
        }
    }
    text.remove_prefix(at);
    return row;
}

std::string_view without_byte_order_mark(std::string_view text) {
    constexpr std::string_view mark = "\xEF\xBB\xBF";
    if (text.starts_with(mark)) text.remove_prefix(mark.size());
    return text;
}

}  // namespace onecycle
