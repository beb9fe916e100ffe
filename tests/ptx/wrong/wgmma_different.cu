// The four warps of a warpgroup multiply the same two matrices: one descriptor for all.
// target: sm_90a
// launch: grid=1 block=128
// args: y=f32[512]?
#include "hopper.cuh"
extern "C" __global__ void wgmma_different(float* y) {
    __shared__ __align__(128) unsigned a[2048], b[64];
    for (int i = threadIdx.x; i < 2048; i += 128) a[i] = 0x3f803f80;
    if (threadIdx.x < 64) b[threadIdx.x] = 0x3f803f80;
    fence();
    __syncthreads();
    float d[4] = {0, 0, 0, 0};
    wgmma_fence(d);
#ifdef MENDED
    wgmma(d, a, b);
#else
    wgmma(d, a + threadIdx.x / 32 * 64, b);
#endif
    wgmma_commit();
    wgmma_wait();
    y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
