// The producer fills a stage again while a wgmma may still read it: nobody said that it is free.
// target: sm_90a
// launch: grid=1 block=160
// args: x=f32[1024] y=f32[128]?
#include "hopper.cuh"
extern "C" __global__ void stage_overwritten(const float* x, float* y) {
    __shared__ __align__(128) unsigned stage[640];
    __shared__ __align__(8) unsigned long long full, empty;
    if (threadIdx.x == 0) {
        init(&full, 1);
        init(&empty, 1);
        publish();
    }
    __syncthreads();
    if (threadIdx.x == 128) {
        for (int k = 0; k < 2; ++k) {
#ifdef MENDED
            wait(&empty, k & 1 ^ 1);
#else
            if (k == 1) wait(&full, 0);
#endif
            expect(&full, 2560);
            load(stage, x, 2560, &full);
        }
    } else if (threadIdx.x < 128) {
        float d[4] = {0, 0, 0, 0};
        for (int k = 0; k < 2; ++k) {
            wait(&full, k & 1);
            wgmma_fence(d);
            wgmma(d, stage, stage + 512);
            wgmma_commit();
            wgmma_wait();
            if (threadIdx.x == 0) arrive(&empty);
        }
        y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
    }
}
