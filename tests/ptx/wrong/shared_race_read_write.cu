// No barrier between reading a tile and filling it for the next step: a fast warp overwrites what a slow
// one still reads.
// launch: grid=1 block=64
// args: x=f32[96] y=f32[64]?
extern "C" __global__ void shared_race_read_write(const float* x, float* y) {
    __shared__ float tile[64];
    int i = threadIdx.x;
    tile[i] = x[i];
    __syncthreads();
    if (i >= 32) y[i] = tile[i - 32];
#ifdef MENDED
    __syncthreads();
#endif
    if (i < 32) tile[i] = x[64 + i];
    __syncthreads();
    if (i < 32) y[i] = tile[i];
}
