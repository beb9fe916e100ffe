// sm_90a by hand, for the wrong kernels.
#pragma once
#define DEV __device__ __forceinline__
DEV unsigned place(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }
DEV void init(void* bar, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(place(bar)), "r"(count) : "memory");
}
DEV void publish() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEV void fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
DEV void arrive(void* bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(place(bar)) : "memory");
}
DEV void expect(void* bar, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(place(bar)), "r"(bytes) : "memory");
}
DEV void wait(void* bar, int parity) {
    asm volatile(
        "{.reg .pred p;\nAGAIN: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@!p bra AGAIN;\n}" ::"r"(place(bar)),
        "r"(parity)
        : "memory");
}
DEV void load(void* to, const void* from, int bytes, void* bar) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(place(to)),
                 "l"(from), "r"(bytes), "r"(place(bar))
                 : "memory");
}
DEV void store(void* to, const void* from, int bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;\ncp.async.bulk.commit_group;" ::"l"(to),
                 "r"(place(from)), "r"(bytes)
                 : "memory");
}
DEV void stored() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
// A plain tile: 8 rows of 16 bytes, one after the other, the next 8 rows 128 bytes on; then the next 8 columns.
DEV unsigned long long matrix(const void* p, unsigned rows) {
    return (place(p) & 0x3ffff) >> 4 | static_cast<unsigned long long>(rows) << 16 | 8ull << 32;
}
// Accumulators, too, so that the compiler writes them before it.
DEV void wgmma_fence(float (&d)[4]) {
    asm volatile("wgmma.fence.sync.aligned;" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])::"memory");
}
DEV void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
DEV void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory"); }
// m64n8k16.
DEV void wgmma(float (&d)[4], const void* a, const void* b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, 1, 1, 1, 0, 0;"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "l"(matrix(a, 64)), "l"(matrix(b, 8))
        : "memory");
}
// m64n8k8 of tf32.
DEV void wgmma_tf32(float (&d)[4], const void* a, const void* b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {%0, %1, %2, %3}, %4, %5, 1, 1, 1;"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "l"(matrix(a, 64)), "l"(matrix(b, 8))
        : "memory");
}
// Clusters.
DEV unsigned rank() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
DEV void meet_cluster() { asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory"); }
// Orders nothing of threads; what the waiter is told with it must be over.
DEV void meet_cluster_relaxed() {
    asm volatile("barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
// Release at the block's scope, so for the other block's threads no more than a relaxed one.
DEV void arrive_in(void* bar, unsigned rank) {
    asm volatile("{.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(place(bar)), "r"(rank)
                 : "memory");
}
// What this thread did is in order for who waits at the cluster's scope.
DEV void release_in(void* bar, unsigned rank) {
    asm volatile("{.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
                 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}" ::"r"(place(bar)), "r"(rank)
                 : "memory");
}
DEV void wait_cluster(void* bar, int parity) {
    asm volatile("{.reg .pred p;\nAGAIN: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], %1;\n"
                 "@!p bra AGAIN;\n}" ::"r"(place(bar)), "r"(parity)
                 : "memory");
}
DEV void load_in(unsigned short blocks, void* to, const void* from, int bytes, void* bar) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], "
                 "%4;" ::"r"(place(to)), "l"(from), "r"(bytes), "r"(place(bar)), "h"(blocks)
                 : "memory");
}
