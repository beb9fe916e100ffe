// All lanes shuffle, half of which the mask does not name.
// launch: grid=1 block=32
// args: x=f32[32] y=f32[32]?
extern "C" __global__ void shuffle_unnamed(const float* x, float* y) {
    int i = threadIdx.x;
    float mine = x[i];
#ifdef MENDED
    mine += __shfl_xor_sync(~0u, mine, 16);
#else
    mine += __shfl_xor_sync(0xffff, mine, 16);
#endif
    y[i] = mine;
}
