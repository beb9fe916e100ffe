// One thread stores its tile, another waits: groups of bulk copies are a thread's own.
// target: sm_90a
// launch: grid=1 block=64
// args: y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void bulk_waited_by_another(float* y) {
    __shared__ __align__(128) float tile[64];
    tile[threadIdx.x] = threadIdx.x;
    fence();
    __syncthreads();
    if (threadIdx.x == 0) store(y, tile, 256);
#ifdef MENDED
    if (threadIdx.x == 0) stored();
#else
    if (threadIdx.x == 1) stored();
#endif
    __syncthreads();
    tile[threadIdx.x] = 0;
    if (threadIdx.x == 0) stored();
}
