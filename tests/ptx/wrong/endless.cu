// A loop waits for a flag that nobody sets.
// launch: grid=1 block=32 budget=5000
// args: flag=u32[1] y=f32[32]?
extern "C" __global__ void endless(volatile unsigned* flag, float* y) {
#ifdef MENDED
    if (threadIdx.x == 0) *flag = 77;
    __syncthreads();
#endif
    while (*flag != 77) {
    }
    y[threadIdx.x] = threadIdx.x;
}
