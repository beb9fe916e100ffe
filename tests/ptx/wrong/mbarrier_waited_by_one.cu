// Who waits knows that the bytes have come; nobody else does.
// target: sm_90a
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void mbarrier_waited_by_one(const float* x, float* y) {
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
    if (threadIdx.x >= 32) wait(&full, 0);
#endif
    y[threadIdx.x] = tile[threadIdx.x];
}
