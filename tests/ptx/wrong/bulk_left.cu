// A block must not end while a copy into its memory is on its way.
// target: sm_90a
// launch: grid=1 block=32
// args: x=f32[64] y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void bulk_left(const float* x, float* y) {
    __shared__ __align__(128) float tile[64];
    __shared__ __align__(8) unsigned long long full;
    if (threadIdx.x == 0) {
        init(&full, 1);
        publish();
        expect(&full, 256);
        load(tile, x, 256, &full);
#ifdef MENDED
        wait(&full, 0);
#endif
        y[0] = 1;
    }
}
