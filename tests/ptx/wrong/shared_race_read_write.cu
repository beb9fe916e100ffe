// The barrier at the end of a step is missing: a fast warp overwrites what a slow one still reads.
// launch: grid=1 block=64
// args: x=f32[128] y=f32[64]? steps=u32:2
extern "C" __global__ void shared_race_read_write(const float* x, float* y, int steps) {
    __shared__ float tile[64];
    int i = threadIdx.x;
    float sum = 0.0f;
    for (int step = 0; step < steps; ++step) {
        tile[i] = x[step * 64 + i];
        __syncthreads();
        sum += tile[63 - i];
#ifdef MENDED
        __syncthreads();
#endif
    }
    y[i] = sum;
}
