// `x` is promised to be read only, and is the place of the result as well.
// launch: grid=1 block=32
// args: x=f32[32]
extern "C" __global__ void readonly_written(float* x) {
    int i = threadIdx.x;
    x[i] = 2.0f * x[i];
    __syncwarp();
#ifdef MENDED
    x[i] += 1.0f;
#else
    x[i] = __ldg(&x[i]) + 1.0f;
#endif
}
