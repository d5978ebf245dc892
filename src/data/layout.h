// Which folders of a tree are the sides of a data set: training, evaluation.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/folder.h"
#include "onecycle/dataset.h"
#include "onecycle/log.h"

namespace onecycle {

// What a split is for, as a folder's name or a table says it.
enum class SplitKind { train, valid, test };

struct SplitName {
    SplitKind kind = SplitKind::train;
    int rank = 0;      // several may be there: the lowest is taken
    std::string rest;  // the name's other words: "seg" of seg_train
};

// train, training; val, valid, validation, dev, eval; test, testing; in any case, with words such
// as "set" or "images" beside them. Empty for any other name, and for one that says two of them.
std::optional<SplitName> split_name(const std::string& name);

// The word that names the split, as a folder's name: "train", "val", ...
std::string side_word(const SplitName& name);

// The path below `data` where `path` lies in it, however the two are spelled; else empty.
std::string place_in(const std::string& path, const std::string& data);

struct Layout {
    const Folder* train = nullptr;       // null: there is none
    const Folder* valid = nullptr;       // null: there is none, the training side is to be split
    const Folder* unlabelled = nullptr;  // an evaluation side that turned out to have no labels
    bool train_is_side = false;          // a folder of its own in DATA, named so
    bool valid_is_test = false;          // found by that name: perhaps without labels
    std::unique_ptr<Folder> named;       // the tree of DatasetOptions::valid_dir
    FolderId apart{};                    // that folder: no part of the training side
    std::vector<std::pair<LogLevel, std::string>> lines;  // what must be said about it

    bool belongs_to_training(const Folder& folder) const { return folder.id() != apart; }
};

// `flat`: images count as labelled where no class folders are, since labels come from elsewhere.
// Throws Error(data): no folder to train on, valid_dir is no folder.
Layout find_layout(const Folder& data, const DatasetOptions& options, bool flat);

}  // namespace onecycle
