// An array of a thread's own, indexed past its end.
// launch: grid=1 block=32
// args: at=u32[32] y=f32[32]?
extern "C" __global__ void local_past_end(const unsigned* at, float* y) {
    float mine[8];
    unsigned i = threadIdx.x;
    for (int k = 0; k < 8; ++k) mine[(k + i) % 8] = k;
#ifdef MENDED
    y[i] = mine[at[i] % 8];
#else
    y[i] = mine[at[i]];
#endif
}
