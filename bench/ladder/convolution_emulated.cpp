// The same kernels, compiled by g++ for the emulator.
#include "bench/ladder/convolution.cu"
