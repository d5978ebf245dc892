// The one place where training learns which device it has. Everything else speaks to Device and
// Backend.
#pragma once

#include <memory>
#include <string>

#include "device/communicator.h"
#include "device/device.h"
#include "ops/cuda/plan_book.h"
#include "ops/ops.h"

namespace onecycle {

struct DeviceChoice {
    std::string device, precision;  // never "auto"
    DType compute;                  // what programs compute in
};

// What --device and --precision come to here: "auto" is the GPU where one can be used, else the
// CPU. Throws Error(usage) for an unknown name and Error(device) for one that this build or the
// device does not have.
DeviceChoice choose_device(const std::string& device, const std::string& precision);

// Why no GPU can be used, and what to do about it; empty: one can. Looks once.
struct MissingCuda {
    std::string why, fix;
};
const MissingCuda& missing_for_cuda();

// --threads, with 0 for all cores.
int worker_threads(int threads);

struct Engine {
    std::unique_ptr<Device> device;
    std::unique_ptr<Backend> backend;
    DType compute = DType::f32;
    std::shared_ptr<PlanBook> plans = std::make_shared<PlanBook>();  // the back end's
};

// How steps run. Neither changes what the CPU and the emulated device compute.
struct EngineMode {
    bool deterministic = false;  // only convolutions that give equal bits in equal runs
    bool graph = true;           // a step is one launch; false: its pieces are launched one by one
    RankPlace place{};           // of several processes on a machine each takes its local rank's GPU
    // What programs of several ranks exchange by; null: they can only be compiled.
    Communicator* ranks = nullptr;
};

// Throws as choose_device().
Engine make_engine(const std::string& device, const std::string& precision, int threads,
                   const EngineMode& mode = {});

}  // namespace onecycle
