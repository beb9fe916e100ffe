// The tile's border is never written.
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]? n=u32:60
extern "C" __global__ void shared_uninitialized(const float* x, float* y, unsigned n) {
    __shared__ float tile[64];
    unsigned i = threadIdx.x;
    if (i < n) tile[i] = x[i];
#ifdef MENDED
    else tile[i] = 0.0f;
#endif
    __syncthreads();
    y[i] = tile[63 - i];
}
