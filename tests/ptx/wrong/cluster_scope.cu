// As cluster_stage_overwritten, but the other block's threads arrive at their own block's scope: their reads are not
// in order for who fills the stage again.
// target: sm_90a
// launch: grid=2 block=128
// args: x=f32[256] y=f32[256]?
#include "hopper.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1) cluster_scope(const float* x, float* y) {
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
                wait_cluster(&empty, k & 1 ^ 1);
                load_in(3, stage, x + k * 128, 512, &full);
            }
        }
        __syncwarp();
        wait(&full, k & 1);
        sum += stage[threadIdx.x];
        __syncwarp();
#ifdef MENDED
        if (threadIdx.x % 32 == 0) release_in(&empty, 0);
#else
        if (threadIdx.x % 32 == 0) arrive_in(&empty, 0);
#endif
    }
    y[blockIdx.x * 128 + threadIdx.x] = sum;
    meet_cluster();
}
