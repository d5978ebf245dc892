// A folder of class folders that appears whole or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "onecycle/demo_data.h"

namespace onecycle {

// Images are written to a hidden folder within, which nobody takes for a class. commit() moves the
// class folders out of it. The destructor of one without commit() removes what was made, and no
// other file. After a kill the hidden folder stays; whoever asks for the same again goes on.
class DemoFolder {
  public:
    // `form` says what is made, as a part of a file's name. Throws Error(io) where the folder
    // cannot be made, holds something else, or is being filled by another process.
    DemoFolder(FileSystem& fs, std::string path, const std::string& form, std::vector<std::string> classes);
    ~DemoFolder();
    DemoFolder(const DemoFolder&) = delete;
    DemoFolder& operator=(const DemoFolder&) = delete;

    // Whether an earlier call was killed when this class was in its place already.
    bool has(const std::string& class_name) const;
    // Throws Error(io).
    void write(const std::string& class_name, int number, bool png, std::string_view bytes);
    void commit();

  private:
    void begin();
    void undo() noexcept;
    std::string staged(const std::string& class_name) const { return staging_ + "/" + class_name; }

    FileSystem& fs_;
    std::string path_, staging_;
    std::vector<std::string> classes_, done_before_, moved_;
    std::vector<std::string> made_;  // folders that were not there, innermost first
    int lock_ = -1;
    bool committed_ = false;
};

// make_demo_data() on another file system.
std::int64_t make_demo_data(const std::string& dir, const DemoOptions& options, FileSystem& fs);

}  // namespace onecycle
