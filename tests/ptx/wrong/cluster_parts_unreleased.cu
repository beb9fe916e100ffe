// The blocks of a cluster leave numbers in global memory for each other and meet, but relaxed: they may not be there yet.
// target: sm_90a
// launch: grid=4 block=128 global_races=1
// args: parts=f32[512] y=f32[512]?
#include "hopper.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1) cluster_parts_unreleased(float* parts, float* y) {
    const unsigned mine = blockIdx.x * 128 + threadIdx.x;
    parts[mine] = mine;
#ifdef MENDED
    meet_cluster();
#else
    meet_cluster_relaxed();
#endif
    y[mine] = parts[(blockIdx.x ^ 1) * 128 + threadIdx.x];
}
