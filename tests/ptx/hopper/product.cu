// One warpgroup's product of two matrices that TMA brings, for every layout that wgmma reads: k or m (n)
// innermost, every swizzle. c[m][n] = sum over k of a[m][k] * b[k][n], m = n = k = 64. `span` is the swizzle's
// bytes; 16 for none. A box is 64 rows of `span` bytes, so that there are 128 / span boxes side by side.
#include <cstdint>
#define DEV __device__ __forceinline__
struct __align__(64) Map {
    unsigned char bytes[128];
};
DEV uint32_t place(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }
DEV void box(uint32_t to, const Map* map, int x, int y, uint32_t bar) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to),
        "l"(map), "r"(x), "r"(y), "r"(bar)
        : "memory");
}
// Leading and stride offset in bytes.
DEV uint64_t descriptor(uint32_t at, uint32_t lead, uint32_t stride, uint32_t span) {
    const uint64_t mode = span == 128 ? 1 : span == 64 ? 2 : span == 32 ? 3 : 0;
    return (at & 0x3ffff) >> 4 | uint64_t(lead >> 4) << 16 | uint64_t(stride >> 4) << 32 | mode << 62;
}
// Of k-step `k` (32 bytes of k, or 16 rows of k).
template <bool T> DEV uint64_t operand(uint32_t at, uint32_t span, int k) {
    if (T)
        return span == 16 ? descriptor(at + k * 256, 128, 1024, span)
                          : descriptor(at + k * 16 * span, 64 * span, 8 * span, span);
    return span == 16 ? descriptor(at + k * 2048, 1024, 128, span)
                      : descriptor(at + k * 32 / span * 64 * span + k * 32 % span, 16, 8 * span, span);
}
#define D(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define LIST                                                                                                   \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "    \
    "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31}"
#define ALL D(0), D(4), D(8), D(12), D(16), D(20), D(24), D(28)
#define MULTIPLY(SHAPE, TAIL, ...)                                                                             \
    asm volatile("{.reg .pred p;\nsetp.ne.b32 p, %34, 0;\nwgmma.mma_async.sync.aligned." SHAPE " " LIST        \
                 ", %32, %33, p, " TAIL ";\n}"                                                                 \
                 : ALL                                                                                         \
                 : "l"(a), "l"(b), "r"(adds)                                                                   \
                 : "memory")
enum Kind { BF16, BF16_NEGATED, F16, TF32 };
template <Kind K, bool TA, bool TB> DEV void multiply(float (&d)[32], uint64_t a, uint64_t b, int adds) {
    if (K == BF16 && !TA && !TB) MULTIPLY("m64n64k16.f32.bf16.bf16", "1, 1, 0, 0");
    if (K == BF16 && !TA && TB) MULTIPLY("m64n64k16.f32.bf16.bf16", "1, 1, 0, 1");
    if (K == BF16 && TA && !TB) MULTIPLY("m64n64k16.f32.bf16.bf16", "1, 1, 1, 0");
    if (K == BF16 && TA && TB) MULTIPLY("m64n64k16.f32.bf16.bf16", "1, 1, 1, 1");
    if (K == BF16_NEGATED) MULTIPLY("m64n64k16.f32.bf16.bf16", "-1, 1, 0, 0");
    if (K == F16) MULTIPLY("m64n64k16.f32.f16.f16", "1, 1, 0, 0");
    if (K == TF32) MULTIPLY("m64n64k8.f32.tf32.tf32", "1, 1");
}
template <Kind K, bool TA, bool TB> DEV void body(const Map* map_a, const Map* map_b, float* c, int span) {
    __shared__ __align__(1024) unsigned char tile[2][64 * 128];
    __shared__ __align__(8) uint64_t full;
    const int size = K == TF32 ? 4 : 2;
    const uint32_t bar = place(&full), at = place(tile[0]), bt = place(tile[1]);
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\nfence.mbarrier_init.release.cluster;" ::"r"(bar) : "memory");
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 16384;" ::"r"(bar) : "memory");
        for (int k = 0; k < 128 / span; ++k) {
            box(at + k * 64 * span, map_a, k * span / size, 0, bar);
            box(bt + k * 64 * span, map_b, k * span / size, 0, bar);
        }
    }
    __syncthreads();
    asm volatile(
        "{.reg .pred p;\nAGAIN: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], 0;\n@!p bra AGAIN;\n}" ::"r"(bar)
        : "memory");
    float d[32];
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll 1
    for (int k = 0; k < 4; ++k) multiply<K, TA, TB>(d, operand<TA>(at, span, k), operand<TB>(bt, span, k), k > 0);
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" : ALL::"memory");
    for (int i = 0; i < 32; ++i) {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        c[(16 * warp + 8 * (i / 2 % 2) + lane / 4) * 64 + 8 * (i / 4) + 2 * (lane % 4) + i % 2] = d[i];
    }
}
#define ENTRY(NAME, K, TA, TB)                                                                                 \
    extern "C" __global__ void __launch_bounds__(128) NAME(const __grid_constant__ Map a,                      \
                                                           const __grid_constant__ Map b, float* c, int span) { \
        body<K, TA, TB>(&a, &b, c, span);                                                                      \
    }
ENTRY(product_kk, BF16, false, false)
ENTRY(product_kn, BF16, false, true)
ENTRY(product_mk, BF16, true, false)
ENTRY(product_mn, BF16, true, true)
ENTRY(product_negated, BF16_NEGATED, false, false)
ENTRY(product_f16, F16, false, false)
ENTRY(product_tf32, TF32, false, false)
