// No barrier between writing a tile and reading what the warp before wrote.
// launch: grid=1 block=128
// args: x=f32[128] y=f32[128]?
extern "C" __global__ void shared_race_write_read(const float* x, float* y) {
    __shared__ float tile[128];
    int i = threadIdx.x;
    tile[i] = x[i];
#ifdef MENDED
    __syncthreads();
#endif
    y[i] = i < 32 ? 0.0f : tile[i - 32];
}
