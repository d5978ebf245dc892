// What lies in a folder of class folders, before any file is opened.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "onecycle/dataset.h"

namespace onecycle {

struct ClassFolder {
    std::string name;
    std::vector<Sample> images;  // sorted by name; labels not yet set
};

struct FolderScan {
    std::vector<ClassFolder> classes;            // sorted by bytes
    std::vector<BadImage> unsupported;           // images of formats that cannot be read, known by extension
    std::map<std::string, std::size_t> ignored;  // other files, counted by extension
    std::size_t loose_images = 0;                // images beside the class folders
    std::vector<std::string> loops;              // symbolic links that lead back to a folder above them
};

// Throws Error(data) when a folder cannot be read.
FolderScan scan_class_folders(const std::string& dir);

// The images in a folder and below it by their extensions, sorted by bytes; also those of formats that cannot
// be read, for the decoder to say so. Hidden names and loops are passed over. Throws as scan_class_folders().
std::vector<std::string> images_below(const std::string& dir);

bool is_folder(const std::string& path);

// The names of the folders in it that do not start with '.', sorted by bytes.
std::vector<std::string> subfolders(const std::string& path);

}  // namespace onecycle
