// The mask names all lanes, but half of them went another way.
// launch: grid=1 block=32
// args: x=f32[32] y=f32[32]?
extern "C" __global__ void shuffle_mask(const float* x, float* y) {
    int i = threadIdx.x;
    float mine = x[i];
#ifdef MENDED
    float other = __shfl_down_sync(0xffffffff, mine, 16);
    if (i < 16) mine += other;
#else
    if (i < 16) mine += __shfl_down_sync(0xffffffff, mine, 16);
#endif
    y[i] = mine;
    __syncwarp();
}
