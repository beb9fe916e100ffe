// The others must not use an mbarrier before it is initialized.
// target: sm_90a
// launch: grid=1 block=64
// args: y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void mbarrier_race(float* y) {
    __shared__ __align__(8) unsigned long long bar;
    if (threadIdx.x == 0) init(&bar, 64);
#ifdef MENDED
    __syncthreads();
#endif
    arrive(&bar);
    wait(&bar, 0);
    y[threadIdx.x] = 1;
}
