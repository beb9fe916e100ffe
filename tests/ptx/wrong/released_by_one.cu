// One lane gives the stage back for its warp, whose other lanes may not have read it yet: they did not meet.
// target: sm_90a
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]?
#include "hopper.cuh"
extern "C" __global__ void released_by_one(const float* x, float* y) {
    __shared__ __align__(128) float stage[32];
    __shared__ __align__(8) unsigned long long full, empty;
    if (threadIdx.x == 0) {
        init(&full, 1);
        init(&empty, 1);
        publish();
    }
    __syncthreads();
    if (threadIdx.x == 32) {
        for (int k = 0; k < 2; ++k) {
            wait(&empty, k & 1 ^ 1);
            expect(&full, 128);
            load(stage, x, 128, &full);
        }
    } else if (threadIdx.x < 32) {
        float sum = 0;
        for (int k = 0; k < 2; ++k) {
            wait(&full, k & 1);
            sum += stage[threadIdx.x];
#ifdef MENDED
            __syncwarp();
#endif
            if (threadIdx.x == 0) arrive(&empty);
        }
        y[threadIdx.x] = sum;
    }
}
