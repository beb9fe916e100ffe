// One lane fences for its warp, whose other lanes have written, too.
// target: sm_90a
// launch: grid=1 block=32
// args: y=f32[32]?
#include "hopper.cuh"
extern "C" __global__ void fenced_by_one(float* y) {
    __shared__ __align__(128) float tile[32];
    tile[threadIdx.x] = 1;
#ifdef MENDED
    __syncwarp();
#endif
    if (threadIdx.x == 0) {
        fence();
        store(y, tile, 128);
        stored();
    }
}
