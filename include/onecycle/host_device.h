// Functions marked ONECYCLE_HD compile for the host and, under nvcc, for the device too.
#pragma once

#if defined(__CUDACC__)
#define ONECYCLE_HD __host__ __device__
#else
#define ONECYCLE_HD
#endif
