// A phase waits for every byte that was announced, also for those that never come.
// target: sm_90a
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void mbarrier_bytes(const float* x, float* y) {
    __shared__ __align__(128) float tile[64];
    __shared__ __align__(8) unsigned long long full;
    if (threadIdx.x == 0) {
        init(&full, 1);
        publish();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
#ifdef MENDED
        expect(&full, 256);
#else
        expect(&full, 512);
#endif
        load(tile, x, 256, &full);
    }
    wait(&full, 0);
    y[threadIdx.x] = tile[threadIdx.x];
}
