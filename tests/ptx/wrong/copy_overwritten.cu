// The second copy into a tile begins while its first content is still read.
// launch: grid=1 block=64
// args: x=f32[128] y=f32[64]?
extern "C" __global__ void copy_overwritten(const float* x, float* y) {
    __shared__ float tile[64];
    int i = threadIdx.x;
    unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(&tile[i]));
    float sum = 0.0f;
    for (int step = 0; step < 2; ++step) {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(x + step * 64 + i) : "memory");
        asm volatile("cp.async.wait_all;" ::: "memory");
        __syncthreads();
        sum += tile[63 - i];
#ifdef MENDED
        __syncthreads();
#endif
    }
    y[i] = sum;
}
