// A thread tells others at an mbarrier that a number is there, but relaxed: it may not be there yet.
// target: sm_90a
// ptx: 8.6
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]?
#include "hopper.cuh"
DEV void arrive_relaxed(void* bar) {
    asm volatile("mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [%0];" ::"r"(place(bar)) : "memory");
}
extern "C" __global__ void mbarrier_relaxed(const float* x, float* y) {
    __shared__ float there;
    __shared__ __align__(8) unsigned long long bar;
    if (threadIdx.x == 0) init(&bar, 1);
    __syncthreads();
    if (threadIdx.x == 0) {
        there = x[7];
#ifdef MENDED
        arrive(&bar);
#else
        arrive_relaxed(&bar);
#endif
    }
    __syncwarp();
    wait(&bar, 0);
    y[threadIdx.x] = there;
}
