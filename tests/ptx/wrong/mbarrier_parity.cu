// The phase before the first has parity 1 and is over: a wait for it falls through.
// target: sm_90a
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void mbarrier_parity(const float* x, float* y) {
    __shared__ __align__(128) float tile[64];
    __shared__ __align__(8) unsigned long long full;
    if (threadIdx.x == 0) {
        init(&full, 1);
        publish();
        expect(&full, 256);
        load(tile, x, 256, &full);
    }
    __syncthreads();
#ifdef MENDED
    wait(&full, 0);
#else
    wait(&full, 1);
#endif
    y[threadIdx.x] = tile[threadIdx.x];
    wait(&full, 0);
}
