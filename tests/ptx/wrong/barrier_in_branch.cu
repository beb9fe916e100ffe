// Half a warp waits where the other half never comes.
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]?
extern "C" __global__ void barrier_in_branch(const float* x, float* y) {
    __shared__ float tile[64];
    int i = threadIdx.x;
    tile[i] = x[i];
#ifdef MENDED
    __syncthreads();
    if (i % 32 < 16) {
#else
    if (i % 32 < 16) {
        __syncthreads();
#endif
        tile[i + 16] += tile[i];
    }
    __syncthreads();
    y[i] = tile[i];
}
