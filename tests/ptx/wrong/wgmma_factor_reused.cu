// Two wgmmas read the same registers; they are written when only the first is waited for.
// target: sm_90a
// launch: grid=1 block=128
// args: y=f32[128]?
#include "hopper.cuh"
#ifdef MENDED
#define FIRST "wgmma.wait_group.sync.aligned 0;\n"
#else
#define FIRST "wgmma.wait_group.sync.aligned 1;\n"
#endif
#define MULTIPLY(D)                                                                                                 \
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 " D ", {a0, a1, a2, a3}, %8, 1, 1, 1, 0;\n"         \
    "wgmma.commit_group.sync.aligned;\n"
extern "C" __global__ void wgmma_factor_reused(float* y) {
    __shared__ __align__(128) unsigned b[64];
    if (threadIdx.x < 64) b[threadIdx.x] = 0x3f803f80;
    fence();
    __syncthreads();
    float d[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    asm volatile(
        "{\n.reg .b32 a0, a1, a2, a3;\n"
        "mov.b32 a0, 0x3f803f80;\nmov.b32 a1, a0;\nmov.b32 a2, a0;\nmov.b32 a3, a0;\n"
        "wgmma.fence.sync.aligned;\n" MULTIPLY("{%0, %1, %2, %3}") MULTIPLY("{%4, %5, %6, %7}") FIRST
        "mov.b32 a0, 0;\n"
        "wgmma.wait_group.sync.aligned 0;\n}"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
        : "l"(matrix(b, 8))
        : "memory");
    y[threadIdx.x] = d[0] + d[4];
}
