// Two stages, but the wait leaves one group too many on its way: the second step reads the old content.
// launch: grid=1 block=32
// args: x=f32[96] y=f32[32]?
extern "C" __global__ void copy_stale(const float* x, float* y) {
    __shared__ float tile[32];
    int i = threadIdx.x;
    unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(&tile[i]));
    float sum = 0.0f;
    for (int step = 0; step < 3; ++step) {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(x + step * 32 + i) : "memory");
        asm volatile("cp.async.commit_group;" ::: "memory");
#ifdef MENDED
        asm volatile("cp.async.wait_group 0;" ::: "memory");
#else
        if (step == 0) asm volatile("cp.async.wait_group 0;" ::: "memory");
        if (step > 0) asm volatile("cp.async.wait_group 1;" ::: "memory");
#endif
        __syncthreads();
        sum += tile[31 - i];
        __syncthreads();
    }
    y[i] = sum;
}
