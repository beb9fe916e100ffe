// One warp of the four does not wait until the stage has been filled again. The product comes out right here, for it is
// done when all four have issued it; the hardware reads that warp's rows when it issues.
// target: sm_90a
// launch: grid=1 block=160
// args: x=f32[1152] y=f32[512]?
#include "hopper.cuh"
extern "C" __global__ void wgmma_warp_ahead(const float* x, float* y) {
    __shared__ __align__(128) unsigned stage[576];
    __shared__ __align__(8) unsigned long long full, empty;
    if (threadIdx.x == 0) {
        init(&full, 1);
        init(&empty, 4);
        publish();
    }
    __syncthreads();
    if (threadIdx.x >= 128) {
        if (threadIdx.x > 128) return;
        for (int k = 0; k < 2; ++k) {
            wait(&empty, k & 1 ^ 1);
            expect(&full, 2304);
            load(stage, x + k * 576, 2304, &full);
        }
        return;
    }
    float d[4] = {0, 0, 0, 0};
    for (int k = 0; k < 2; ++k) {
#ifdef MENDED
        wait(&full, k);
#else
        if (threadIdx.x / 32 != 2 || k == 0) wait(&full, k);
#endif
        __syncwarp();
        wgmma_fence(d);
        wgmma(d, stage, stage + 512);
        wgmma_commit();
        wgmma_wait();
        if (threadIdx.x % 32 == 0) arrive(&empty);
        __syncwarp();
    }
    y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
