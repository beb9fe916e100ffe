// A barrier for two warps that only one of them reaches.
// launch: grid=1 block=64
// args: y=f32[64]?
extern "C" __global__ void deadlock(float* y) {
    int i = threadIdx.x;
#ifndef MENDED
    if (i < 32)
#endif
        asm volatile("bar.sync 1, 64;");
    y[i] = i;
    __syncthreads();
}
