// A word of shared memory is no mbarrier until one thread has made it one.
// target: sm_90a
// launch: grid=1 block=32
// args: y=f32[32]?
#include "hopper.cuh"
extern "C" __global__ void mbarrier_raw(float* y) {
    __shared__ __align__(8) unsigned long long bar;
#ifdef MENDED
    if (threadIdx.x == 0) init(&bar, 32);
#else
    if (threadIdx.x == 0) bar = 0;
#endif
    __syncthreads();
    arrive(&bar);
    wait(&bar, 0);
    y[threadIdx.x] = 1;
}
