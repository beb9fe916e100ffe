// A bulk copy sees an mbarrier through another proxy than the thread that initialized it.
// target: sm_90a
// launch: grid=1 block=32
// args: x=f32[64] y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void mbarrier_unfenced(const float* x, float* y) {
    __shared__ __align__(128) float tile[64];
    __shared__ __align__(8) unsigned long long full;
    if (threadIdx.x == 0) {
        init(&full, 1);
#ifdef MENDED
        publish();
#endif
        expect(&full, 256);
        load(tile, x, 256, &full);
        wait(&full, 0);
        y[0] = tile[0];
    }
}
