// How much of the processors other programs use meanwhile: what is timed beside them says less.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace onecycle {

struct MachineLoad {
    double others = 0;      // processors' worth of work that was not ours: 1.5 is one and a half
    double processors = 0;  // that the machine has
};

// From its making to read().
class LoadMeter {
  public:
    LoadMeter();
    // Nothing where the system does not tell.
    std::optional<MachineLoad> read() const;

  private:
    std::chrono::steady_clock::time_point start_;
    std::optional<double> busy_;
    double own_;
};

// Seconds that all processors together have worked since the start, of the text of /proc/stat;
// other machines' work on them (steal) counts.
std::optional<double> busy_seconds(const std::string& stat, double ticks_per_second);

}  // namespace onecycle
