// A bulk copy still reads its tile when the tile is written again.
// target: sm_90a
// launch: grid=1 block=64
// args: y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void bulk_overwritten(float* y) {
    __shared__ __align__(128) float tile[64];
    tile[threadIdx.x] = threadIdx.x;
    fence();
    __syncthreads();
    if (threadIdx.x == 0) store(y, tile, 256);
#ifdef MENDED
    if (threadIdx.x == 0) stored();
#endif
    __syncthreads();
    tile[threadIdx.x] = 0;
    if (threadIdx.x == 0) stored();
}
