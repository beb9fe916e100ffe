// The thread that asks TMA for a copy has not waited, though another one has.
// target: sm_90a
// launch: grid=1 block=64
// args: x=f32[64] y=f32[64]?
__device__ __forceinline__ unsigned at(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

extern "C" __global__ void predecessor_bulk(const float* x, float* y) {
    __shared__ __align__(128) float tile[64];
    __shared__ __align__(8) unsigned long long full;
    int i = threadIdx.x;
    if (i == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(at(&full)) : "memory");
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
#ifdef MENDED
    asm volatile("griddepcontrol.wait;" ::: "memory");
#else
    if (i != 0) asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    __syncthreads();
    if (i == 0) {
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 256;" ::"r"(at(&full)) : "memory");
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], 256, [%2];"
                     ::"r"(at(tile)), "l"(x), "r"(at(&full)) : "memory");
    }
    asm volatile("{.reg .pred p;\n"
                 "again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], 0;\n"
                 "@!p bra again;}" ::"r"(at(&full)) : "memory");
    y[i] = tile[i];
}
