// A relaxed barrier of the cluster orders no initialization of an mbarrier that no fence has shown.
// target: sm_90a
// launch: grid=2 block=128
// args: y=f32[256]?
#include "hopper.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1) cluster_init_unfenced(float* y) {
    __shared__ __align__(8) unsigned long long bar;
    if (threadIdx.x == 0) {
        init(&bar, 1);
#ifdef MENDED
        publish();
#endif
    }
    meet_cluster_relaxed();
    if (threadIdx.x == 0) arrive_in(&bar, rank() ^ 1);
    wait(&bar, 0);
    y[blockIdx.x * 128 + threadIdx.x] = 1;
}
