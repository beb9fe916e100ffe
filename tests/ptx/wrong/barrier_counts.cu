// Two warps at one barrier, one of which expects a third.
// launch: grid=1 block=64
// args: y=f32[64]?
extern "C" __global__ void barrier_counts(float* y) {
    int i = threadIdx.x;
#ifdef MENDED
    int count = 64;
#else
    int count = i < 32 ? 64 : 96;
#endif
    asm volatile("bar.sync 1, %0;" ::"r"(count));
    y[i] = i;
}
