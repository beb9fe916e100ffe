// A bulk copy out of shared memory goes through another proxy than the stores before it: a fence joins them.
// target: sm_90a
// launch: grid=1 block=64
// args: y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void proxy_fence(float* y) {
    __shared__ __align__(128) float tile[64];
    tile[threadIdx.x] = threadIdx.x;
#ifdef MENDED
    fence();
#endif
    __syncthreads();
    if (threadIdx.x == 0) {
        store(y, tile, 256);
        stored();
    }
}
