// One arrival that counts for more than the phase waits for.
// target: sm_90a
// launch: grid=1 block=64
// args: y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void mbarrier_arrivals(float* y) {
    __shared__ __align__(8) unsigned long long bar;
#ifdef MENDED
    if (threadIdx.x == 0) init(&bar, 4);
#else
    if (threadIdx.x == 0) init(&bar, 3);
#endif
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], 2;" ::"r"(place(&bar)) : "memory");
    wait(&bar, 0);
    y[threadIdx.x] = 1;
}
