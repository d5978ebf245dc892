// The one place that gives images their labels: from the class folder, from a table, or from the
// file's name.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/layout.h"
#include "onecycle/dataset.h"

namespace onecycle {

// An image on its way to a side.
struct FoundImage {
    enum class Side { train, valid, none };

    Sample sample;            // its label not yet set
    std::string below;        // its path below DATA
    Side side = Side::train;  // a table with splits may set it
    std::string label = {};   // empty: it has none
    std::string fault = {};   // why it cannot be used, where that is known before it is read
};

class Labels {
  public:
    // A CSV file (`table`), or a regular expression for file names (`pattern`), or neither:
    // folders. Reads the table. Throws Error(usage) for both or a bad expression, Error(data) for a
    // malformed table.
    Labels(const std::string& table, const std::string& pattern);
    ~Labels();

    bool by_folder() const;
    bool by_table() const;
    bool table_has_splits() const;

    // Sets the labels (a table: also sides, where it has splits). Images that only the table knows
    // are added: files outside the tree, files that are not there. `excluded` says which paths
    // below DATA the user does not want. Throws Error(data) for a table that contradicts itself or
    // the folder.
    void assign(std::vector<FoundImage>& images, const std::string& data,
                const std::function<bool(const std::string&)>& excluded) const;

    // For messages: what an image without a label lacks, as "in labels.csv".
    std::string why_none() const;

  private:
    struct Table;
    struct Pattern;
    std::unique_ptr<Table> table_;
    std::unique_ptr<Pattern> pattern_;
};

}  // namespace onecycle
