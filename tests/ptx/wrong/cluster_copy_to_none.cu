// A copy to three blocks of a cluster that has two.
// target: sm_90a
// launch: grid=2 block=128
// args: x=f32[128] y=f32[256]?
#include "hopper.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1) cluster_copy_to_none(const float* x, float* y) {
    __shared__ __align__(128) float stage[128];
    __shared__ __align__(8) unsigned long long full;
    if (threadIdx.x == 0) {
        init(&full, 1);
        publish();
    }
    meet_cluster_relaxed();
    if (threadIdx.x == 0) {
        expect(&full, 512);
#ifdef MENDED
        if (rank() == 0) load_in(3, stage, x, 512, &full);
#else
        if (rank() == 0) load_in(7, stage, x, 512, &full);
#endif
    }
    wait(&full, 0);
    y[blockIdx.x * 128 + threadIdx.x] = stage[threadIdx.x];
}
