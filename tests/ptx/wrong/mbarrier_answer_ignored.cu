// try_wait may answer "not yet" whenever it likes: who asks once and goes on has not waited. In the usual order it is
// answered when the bytes are there, so this is found in the other orders only. Block 0 asks and does no harm; a worker
// that goes on with block 1 has to refuse there anew.
// target: sm_90a
// launch: grid=2 block=64 unusual=1
// args: x=f32[64] y=f32[64]?
#include "hopper.cuh"
DEV void ask(void* bar) {
    asm volatile("{.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], 0;\n}" ::"r"(place(bar)) : "memory");
}
extern "C" __global__ void mbarrier_answer_ignored(const float* x, float* y) {
    __shared__ __align__(128) float tile[64];
    __shared__ __align__(8) unsigned long long full;
#ifdef MENDED
    __shared__ int asked;
    if (threadIdx.x == 0) asked = 0;
    __syncthreads();
#endif
    if (threadIdx.x == 0) {
        init(&full, 1);
        publish();
    }
    __syncthreads();
    if (blockIdx.x == 0) {
        ask(&full);
        return;
    }
    if (threadIdx.x == 0) {
        expect(&full, 256);
        load(tile, x, 256, &full);
    }
    __syncthreads();
#ifdef MENDED
    // Lanes part between two questions, and are the same that asked before.
    for (unsigned over = 0; !over;) {
        asm volatile(
            "{.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], 0;\nselp.u32 %0, 1, 0, p;\n}"
            : "=r"(over)
            : "r"(place(&full))
            : "memory");
        if (threadIdx.x % 32 == 0) atomicAdd(&asked, 1);
    }
#else
    ask(&full);
#endif
    y[threadIdx.x] = tile[threadIdx.x];
}
