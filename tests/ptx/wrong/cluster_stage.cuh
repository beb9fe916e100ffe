// The body of cluster_stage_overwritten, cluster_scope and cluster_scope_of_wait: block 0 fills a stage of both blocks, and
// again when it has been read. READERS arrivals free it, ARRIVE is how the readers' come, WAIT how block 0 waits for them.
#include "hopper.cuh"
extern "C" __global__ void __cluster_dims__(2, 1, 1) NAME(const float* x, float* y) {
    __shared__ __align__(128) float stage[128];
    __shared__ __align__(8) unsigned long long full, empty;
    if (threadIdx.x == 0) {
        init(&full, 1);
        init(&empty, READERS);
        publish();
    }
    meet_cluster_relaxed();
    float sum = 0;
    for (int k = 0; k < 2; ++k) {
        if (threadIdx.x == 0) {
            expect(&full, 512);
            if (rank() == 0) {
                WAIT(&empty, k & 1 ^ 1);
                load_in(3, stage, x + k * 128, 512, &full);
            }
        }
        __syncwarp();
        wait(&full, k & 1);
        sum += stage[threadIdx.x];
        __syncwarp();
        if (threadIdx.x % 32 == 0) ARRIVE;
    }
    y[blockIdx.x * 128 + threadIdx.x] = sum;
    meet_cluster();
}
