// The guard for the last block is missing: 128 threads, 100 elements.
// launch: grid=2 block=64
// args: x=f32[100] y=f32[100]? n=u32:100
extern "C" __global__ void global_past_end(const float* x, float* y, unsigned n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
#ifdef MENDED
    if (i >= n) return;
#endif
    y[i] = 2.0f * i;
}
