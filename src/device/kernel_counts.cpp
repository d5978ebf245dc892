#include "device/kernel_counts.h"

namespace onecycle {

void LaunchCounts::add(const LaunchCounts& other) {
    requests += other.requests;
    sectors += other.sectors;
    fewest_sectors += other.fewest_sectors;
    bytes += other.bytes;
    shared_requests += other.shared_requests;
    bank_conflicts += other.bank_conflicts;
}

}  // namespace onecycle
