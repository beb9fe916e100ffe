// As cluster_scope, the other way around: who fills the stage waits at the scope of its own block, so that it does not
// learn what the other released.
// target: sm_90a
// launch: grid=2 block=128
// args: x=f32[256] y=f32[256]?
#include "hopper.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1) cluster_scope_of_wait(const float* x, float* y) {
    __shared__ __align__(128) float stage[128];
    __shared__ __align__(8) unsigned long long full, empty;
    if (threadIdx.x == 0) {
        init(&full, 1);
        init(&empty, 8);
        publish();
    }
    meet_cluster_relaxed();
    float sum = 0;
    for (int k = 0; k < 2; ++k) {
        if (threadIdx.x == 0) {
            expect(&full, 512);
            if (rank() == 0) {
#ifdef MENDED
                wait_cluster(&empty, k & 1 ^ 1);
#else
                wait(&empty, k & 1 ^ 1);
#endif
                load_in(3, stage, x + k * 128, 512, &full);
            }
        }
        __syncwarp();
        wait(&full, k & 1);
        sum += stage[threadIdx.x];
        __syncwarp();
        if (threadIdx.x % 32 == 0) release_in(&empty, 0);
    }
    y[blockIdx.x * 128 + threadIdx.x] = sum;
    meet_cluster();
}
