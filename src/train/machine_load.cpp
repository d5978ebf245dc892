#include "train/machine_load.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iterator>
#include <sstream>

namespace onecycle {

namespace {

std::optional<double> busy_now() {
    std::ifstream file("/proc/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return busy_seconds(text, static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

double own_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

std::optional<double> busy_seconds(const std::string& stat, double ticks_per_second) {
    std::istringstream line(stat.substr(0, stat.find('\n')));
    std::string name;
    double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft_irq = 0, steal = 0;
    if (!(line >> name >> user >> nice >> system >> idle >> wait >> irq >> soft_irq >> steal) ||
        name != "cpu")
        return {};
    return (user + nice + system + irq + soft_irq + steal) / ticks_per_second;
}

LoadMeter::LoadMeter() : start_(std::chrono::steady_clock::now()), busy_(busy_now()), own_(own_seconds()) {}

std::optional<MachineLoad> LoadMeter::read() const {
    const std::optional<double> busy = busy_now();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    if (!busy_ || !busy || seconds <= 0) return {};
    const double others = (*busy - *busy_ - (own_seconds() - own_)) / seconds;
    return MachineLoad{std::max(others, 0.0), static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN))};
}

}  // namespace onecycle
