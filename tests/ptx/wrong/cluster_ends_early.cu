// A block ends that the other block of its cluster may still arrive in.
// target: sm_90a
// launch: grid=2 block=128
// args: y=f32[256]?
#include "hopper.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1) cluster_ends_early(float* y) {
    __shared__ __align__(8) unsigned long long bar;
    if (threadIdx.x == 0) {
        init(&bar, 1);
        publish();
    }
    meet_cluster_relaxed();
    y[blockIdx.x * 128 + threadIdx.x] = 1;
    if (rank() == 0 && threadIdx.x == 0) arrive_in(&bar, 1);
#ifdef MENDED
    meet_cluster();
#endif
}
