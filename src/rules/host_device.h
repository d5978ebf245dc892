// Functions marked ONECYCLE_HD compile for the host and, under nvcc, for the device too.
#pragma once

#if defined(__CUDACC__)
#define ONECYCLE_HD __host__ __device__
#else
#define ONECYCLE_HD
#endif

namespace onecycle {

// a * b, rounded before anything is added to it. A device compiler would join a product and a sum
// into one instruction that rounds once; formulas that must give equal bits on host and device say
// mul_rn() where a sum takes its result. (Sources with such formulas are compiled with
// -ffp-contract=off for the host.)
ONECYCLE_HD inline double mul_rn(double a, double b) {
#if defined(__CUDA_ARCH__)
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}
ONECYCLE_HD inline float mul_rn(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

}  // namespace onecycle
