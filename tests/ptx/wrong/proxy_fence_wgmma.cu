// wgmma reads shared memory through the asynchronous proxy: who stores there runs a fence.
// target: sm_90a
// launch: grid=1 block=128
// args: y=f32[512]?
#include "hopper.cuh"
extern "C" __global__ void proxy_fence_wgmma(float* y) {
    __shared__ __align__(128) unsigned a[512], b[64];
    for (int i = threadIdx.x; i < 512; i += 128) a[i] = 0x3f803f80;
    if (threadIdx.x < 64) b[threadIdx.x] = 0x3f803f80;
#ifdef MENDED
    fence();
#endif
    __syncthreads();
    float d[4] = {0, 0, 0, 0};
    wgmma_fence(d);
    wgmma(d, a, b);
    wgmma_commit();
    wgmma_wait();
    for (int i = 0; i < 4; ++i) y[4 * threadIdx.x + i] = d[i];
}
