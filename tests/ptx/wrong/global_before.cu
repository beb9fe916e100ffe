// The left neighbour of the first element.
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]?
extern "C" __global__ void global_before(const float* x, float* y) {
    int i = threadIdx.x;
#ifdef MENDED
    y[i] = x[i] - (i > 0 ? x[i - 1] : 0.0f);
#else
    y[i] = x[i] - x[i - 1];
#endif
}
