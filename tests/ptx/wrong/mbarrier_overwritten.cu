// A tile that is one word too long reaches into the mbarrier behind it.
// target: sm_90a
// launch: grid=1 block=32
// args: y=f32[32]? n=u32:1
#include "hopper.cuh"
struct Shared {
    float tile[32];
    unsigned long long bar;
};
extern "C" __global__ void mbarrier_overwritten(float* y, unsigned n) {
    __shared__ Shared s;
    if (threadIdx.x == 0) init(&s.bar, 32);
    __syncthreads();
#ifdef MENDED
    s.tile[threadIdx.x] = n;
#else
    s.tile[threadIdx.x + n] = n;
#endif
    __syncthreads();
    arrive(&s.bar);
    wait(&s.bar, 0);
    y[threadIdx.x] = s.tile[threadIdx.x ^ n];
}
