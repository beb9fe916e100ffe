// A phase counts at most 2^20 - 1 bytes.
// target: sm_90a
// launch: grid=1 block=32
// args: x=f32[64] y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void mbarrier_overflow(const float* x, float* y) {
    __shared__ __align__(128) float tile[64];
    __shared__ __align__(8) unsigned long long full;
    if (threadIdx.x == 0) {
        init(&full, 1);
        publish();
#ifdef MENDED
        expect(&full, 256);
#else
        expect(&full, 1 << 20);
#endif
        load(tile, x, 256, &full);
        wait(&full, 0);
        y[0] = tile[0];
    }
}
