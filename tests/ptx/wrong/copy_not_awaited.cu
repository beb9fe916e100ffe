// A barrier does not wait for cp.async: the copy may still be on its way.
// launch: grid=1 block=32
// args: x=f32[32] y=f32[32]?
extern "C" __global__ void copy_not_awaited(const float* x, float* y) {
    __shared__ float tile[32];
    int i = threadIdx.x;
    unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(&tile[i]));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(x + i) : "memory");
    asm volatile("cp.async.commit_group;" ::: "memory");
#ifdef MENDED
    asm volatile("cp.async.wait_group 0;" ::: "memory");
#endif
    __syncthreads();
    y[i] = tile[31 - i];
}
