// An accumulator is written between the fence and the wgmma that adds to it.
// target: sm_90a
// launch: grid=1 block=128
// args: y=f32[512]?
#include "hopper.cuh"
extern "C" __global__ void wgmma_rewritten(float* y) {
    __shared__ __align__(128) unsigned a[512], b[64];
    for (int i = threadIdx.x; i < 512; i += 128) a[i] = 0x3f803f80;
    if (threadIdx.x < 64) b[threadIdx.x] = 0x3f803f80;
    fence();
    __syncthreads();
    float d[4] = {0, 0, 0, 0};
    wgmma_fence(d);
    wgmma(d, a, b);
    wgmma_commit();
    wgmma_wait();
    for (float& sum : d) sum *= 2;
#ifdef MENDED
    wgmma_fence(d);
#endif
    wgmma(d, a, b);
    wgmma_commit();
    wgmma_wait();
    y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
