// Stands for an H200 in cuDNN's own words (bench/cudnn_device_text.cpp prints a GPU's).
#pragma once

namespace onecycle::testing {

inline constexpr const char* h200_device_text =
    R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,)"
    R"("multiProcessorCount":132,"warpSize":32,"maxSharedMemoryPerBlock":49152,)"
    R"("maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,)"
    R"("maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,)"
    R"("supportCoopLaunch":1,"smClockRateKHz":1980000,"memClockRateKHz":3201000,"l2CacheSize":62914560,)"
    R"("deviceName":"NVIDIA H200","totalGlobalMem":150000000000,"deviceVer":900,"driverVer":13000,)"
    R"("cudaDeviceId":0,"runtimeVer":13000,"isIntegrated":0})";

}  // namespace onecycle::testing
