// A shuffle of half a warp reads a lane of the other half.
// launch: grid=1 block=32
// args: x=f32[32] y=f32[32]?
extern "C" __global__ void shuffle_stranger(const float* x, float* y) {
    int i = threadIdx.x;
    float mine = x[i];
#ifdef MENDED
    if (i < 16) mine += __shfl_xor_sync(0xffff, mine, 8);
#else
    if (i < 16) mine += __shfl_xor_sync(0xffff, mine, 16);
#endif
    y[i] = mine;
}
