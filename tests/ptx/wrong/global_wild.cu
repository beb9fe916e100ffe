// An index that was multiplied too often.
// launch: grid=1 block=32
// args: x=f32[32] y=f32[32]?
extern "C" __global__ void global_wild(const float* x, float* y) {
    unsigned long long i = threadIdx.x;
#ifndef MENDED
    i *= 1ull << 44;
#endif
    y[threadIdx.x] = x[i];
}
