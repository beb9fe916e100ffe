// One column more than the tile has.
// launch: grid=1 block=32
// args: x=f32[32] y=f32[32]?
extern "C" __global__ void shared_past_end(const float* x, float* y) {
    __shared__ float tile[32];
    int i = threadIdx.x;
    tile[i] = x[i];
    __syncthreads();
#ifdef MENDED
    y[i] = tile[(i + 1) % 32];
#else
    y[i] = tile[i + 1];
#endif
}
