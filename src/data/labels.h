// The one place that gives images their labels: from the class folder, from a table, or from the
// file's name.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/image_place.h"
#include "data/layout.h"
#include "onecycle/dataset.h"

namespace onecycle {

// Texts that many images share, by number.
class Texts {
  public:
    int number(std::string_view text);
    const std::string& operator[](int number) const { return *texts_[static_cast<std::size_t>(number)]; }
    int size() const { return static_cast<int>(texts_.size()); }

  private:
    std::unordered_map<std::string, int> numbers_;
    std::vector<const std::string*> texts_;
    int last_ = -1;
};

// An image on its way to a side.
struct FoundImage {
    enum class Side { train, valid, none };

    Sample sample{};          // its label not yet set
    Side side = Side::train;  // a table with splits may set it
    int label = -1;           // in FoundImages::texts; -1: it has none
    int fault = -1;           // likewise: why it cannot be used, where that is known before it is read
    int beside = -1;          // likewise: the label that stands beside it in its shard

    std::string below() const { return below_data(sample.place); }  // its path below DATA
};

struct FoundImages {
    std::vector<FoundImage> list{};
    Texts texts{};
    ImagePlaces places{};

    bool has_label(const FoundImage& image) const { return image.label >= 0; }
    const std::string& label(const FoundImage& image) const { return texts[image.label]; }
};

class Labels {
  public:
    // A CSV file (`table`), or a regular expression for file names (`pattern`), or neither: folders
    // or, after read_shards(), what stands beside the images in shards. Reads the table. Throws Error(usage) for both or a bad expression, Error(data) for a
    // malformed table.
    Labels(const std::string& table, const std::string& pattern);
    ~Labels();

    // The labels beside the images in shards count where nothing else was asked for. `folders`
    // hold the shards: a classes.txt there names the classes that are numbers. Throws Error(data)
    // for one that cannot be used.
    void read_shards(const std::vector<std::string>& folders);

    bool by_folder() const;
    bool by_shard() const { return by_shard_; }
    bool by_table() const;
    bool table_has_splits() const;

    // Sets the labels (a table: also sides, where it has splits). Images that only the table knows
    // are added: files outside the tree, files that are not there. `excluded` says which paths
    // below DATA the user does not want. Throws Error(data) for a table that contradicts itself or
    // the folder.
    void assign(FoundImages& images, const std::string& data,
                const std::function<bool(const std::string&)>& excluded) const;

    // For messages: what an image without a label lacks, as "in labels.csv".
    std::string why_none() const;

  private:
    struct Table;
    struct Pattern;
    std::unique_ptr<Table> table_;
    std::unique_ptr<Pattern> pattern_;
    bool by_shard_ = false;
    std::vector<std::string> class_names_;  // of classes.txt
    std::string class_names_file_;
};

}  // namespace onecycle
