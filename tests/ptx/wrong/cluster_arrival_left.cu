// Both blocks meet before they end, but relaxed: an arrival may still be on its way to a block that has ended.
// target: sm_90a
// launch: grid=2 block=128
// args: y=f32[256]?
#include "hopper.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1) cluster_arrival_left(float* y) {
    __shared__ __align__(8) unsigned long long bar;
    if (threadIdx.x == 0) {
        init(&bar, 1);
        publish();
    }
    meet_cluster_relaxed();
    y[blockIdx.x * 128 + threadIdx.x] = 1;
    if (threadIdx.x == 0) arrive_in(&bar, rank() ^ 1);
#ifdef MENDED
    wait(&bar, 0);
#else
    meet_cluster_relaxed();
#endif
}
