// Two threads of a warp write different numbers to one element, in one instruction.
// launch: grid=1 block=32
// args: x=f32[32] y=f32[32]?
extern "C" __global__ void shared_same_place(const float* x, float* y) {
    __shared__ float tile[32];
    int i = threadIdx.x;
#ifdef MENDED
    int at = i;
#else
    int at = i / 2;
#endif
    tile[at] = x[i];
    __syncthreads();
    y[i] = tile[at];
}
