// hopper.cuh   what sm_90a has beside mma.cuh: mbarriers, the tensor memory accelerator (TMA), products of warpgroups
//
// TMA moves boxes of tensors between global and shared memory: one thread asks, nobody waits. What comes in is
// counted in bytes by an mbarrier; what goes out is waited for in groups. Boxes have rows of 128 bytes, whose
// chunks of 16 bytes change places by the address (bits 4 to 6 xor bits 7 to 9): tiles begin at multiples of
// 1024. Numbers outside a tensor come as zeros and go nowhere.
//
// A warpgroup (four warps) multiplies 64 rows by N columns, 16 deep (wgmma), both factors where TMA put them,
// the sums in registers: warp q has rows 16q to 16q + 15, as "Register Fragments for wgmma .m64nNk16" of the PTX
// ISA lays them out: those of mma.m16n8k16, eight columns after eight. Products are issued and waited for later:
// the sums belong to the unit from `begin_products` to `wait_products`.
//
// Two proxies see shared memory: `show_to_tma` stands between a thread's stores and what TMA or wgmma reads of them.

#pragma once

#include "mma.cuh"

// As cuTensorMapEncode* makes it: src/device/gpu/tensor_map.rs.
struct __align__(64) TensorMap {
    unsigned char bytes[128];
};

// mbarriers.

__device__ __forceinline__ void init_barrier(const unsigned barrier, const int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Before anyone else, TMA too, uses barriers that this thread made.
__device__ __forceinline__ void show_barriers()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void arrive(const unsigned barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and holds the phase until so many bytes have come.
__device__ __forceinline__ void expect(const unsigned barrier, const int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// Until the phase of this parity is over: of a new barrier, that of parity 1 is.
__device__ __forceinline__ void wait(const unsigned barrier, const int parity)
{
    asm volatile(
        "{.reg .pred p;\n"
        "again%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
        "@!p bra again%=;}" ::"r"(barrier), "r"(parity) : "memory");
}

// TMA. Coordinates innermost first.

__device__ __forceinline__ void prefetch(const TensorMap* map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

__device__ __forceinline__ void load_box(
    const unsigned to, const TensorMap* map, const unsigned barrier, const int x, const int y)
{
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
        ::"r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y) : "memory");
}

__device__ __forceinline__ void load_box(
    const unsigned to, const TensorMap* map, const unsigned barrier, const int c, const int w, const int h,
    const int n)
{
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6}], [%2];"
        ::"r"(to), "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(n) : "memory");
}

// What tap (i, j) of a 3x3 window sees of a run of pixels: (w, h, n) is the first one's place less the padding.
__device__ __forceinline__ void load_pixels(
    const unsigned to, const TensorMap* map, const unsigned barrier, const int c, const int w, const int h,
    const int n, const int i, const int j)
{
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};"
        ::"r"(to), "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(n), "h"(static_cast<unsigned short>(j)),
        "h"(static_cast<unsigned short>(i)) : "memory");
}

// `rectify` of a sum, where a comparison takes two instructions in one, or none where two of them become a pair of bf16. Of -0,
// which a sum is only where all of it is, it makes +0.
__device__ __forceinline__ float rectify_sum(const float x)
{
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(0.0f));
    return y;
}

// Clusters: blocks that run at the same time and see each other's shared memory.

__device__ __forceinline__ int rank_in_cluster()
{
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return int(rank);
}

// All threads of all blocks meet: before others use barriers that one has made and shown (`show_barriers`), and before one
// ends that others use. Relaxed, for no more is ordered: a release is a fence of the whole card's memory, too.
__device__ __forceinline__ void meet_cluster()
{
    // One lane may have worked while the others had nothing to do.
    __syncwarp();
    asm volatile("barrier.cluster.arrive.relaxed.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// The same, and what threads wrote to global memory before is there for all of them behind it.
__device__ __forceinline__ void show_to_cluster()
{
    __syncwarp();
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Arrives at the barrier of block `rank` that lies where `barrier` does in this one. It orders for this block alone:
// `.release.cluster` is a fence of the whole card's memory in machine code (MEMBAR.ALL.GPU, and CCTL.IVALL behind the
// wait), a microsecond of every step. What is freed so has been read by `wgmma` and is written by TMA: no thread's loads or
// stores are in it, so there is nothing to order for another block's threads.
__device__ __forceinline__ void arrive_in(const unsigned barrier, const int rank)
{
    asm volatile(
        "{.reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [there];}" ::"r"(barrier), "r"(rank) : "memory");
}

// load_pixels to several blocks, a bit each: to the same place in all, whose barriers at the same place count the bytes.
__device__ __forceinline__ void load_pixels_in(
    const unsigned short blocks, const unsigned to, const TensorMap* map, const unsigned barrier, const int c, const int w,
    const int h, const int n, const int i, const int j)
{
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8}, %9;"
        ::"r"(to), "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(n), "h"(static_cast<unsigned short>(j)),
        "h"(static_cast<unsigned short>(i)), "h"(blocks) : "memory");
}

__device__ __forceinline__ void show_to_tma() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// A box of shared memory into a tensor, as a group of its own.
__device__ __forceinline__ void store_box(const TensorMap* map, const unsigned from, const int x, const int y)
{
    asm volatile(
        "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];\n\t"
        "cp.async.bulk.commit_group;" ::"l"(map), "r"(from), "r"(x), "r"(y) : "memory");
}

__device__ __forceinline__ void store_box(
    const TensorMap* map, const unsigned from, const int c, const int w, const int h, const int n)
{
    asm volatile(
        "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];\n\t"
        "cp.async.bulk.commit_group;" ::"l"(map), "r"(from), "r"(c), "r"(w), "r"(h), "r"(n) : "memory");
}

// Until TMA has read all but the last `PENDING` groups of this thread.
template <int PENDING> __device__ __forceinline__ void wait_stores()
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(PENDING) : "memory");
}

// Products of warpgroups.

__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

template <int PENDING> __device__ __forceinline__ void wait_products()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// The compiler may not read sums before this point: it does not know who writes them.
template <int PRODUCTS, int COUNT> __device__ __forceinline__ void take_sums(float (&sums)[PRODUCTS][COUNT])
{
    #pragma unroll
    for (int i = 0; i < PRODUCTS; ++i)
        #pragma unroll
        for (int k = 0; k < COUNT; ++k) asm volatile("" : "+f"(sums[i][k])::"memory");
}

// Registers go from the producer to the consumers: the counts of all warps must fit 64 Ki.
template <int COUNT> __device__ __forceinline__ void give_registers()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}
template <int COUNT> __device__ __forceinline__ void take_registers()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

// `threads` threads meet at barrier `id`; 0 is __syncthreads'.
__device__ __forceinline__ void meet(const int id, const int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// A factor in shared memory, "Matrix Descriptor Format" of the PTX ISA: swizzle of 128 bytes, strides in 16 bytes.
// Along: a row of memory is a row (or column) of the product, 64 deep; eight rows are `group` bytes.
__device__ __forceinline__ unsigned long long along_depth(const unsigned at, const int group)
{
    return 1ull << 62 | static_cast<unsigned long long>(group >> 4) << 32 | 1ull << 16 | (at & 0x3ffff) >> 4;
}

// Across: a row of memory is one depth of 64 rows (or columns); the next 64 of them come after 64 depths.
__device__ __forceinline__ unsigned long long across_depth(const unsigned at)
{
    return 1ull << 62 | 1024ull >> 4 << 32 | 8192ull >> 4 << 16 | (at & 0x3ffff) >> 4;
}

// Depth 16·k of a factor that lies one way or the other.
template <bool ACROSS> __device__ __forceinline__ unsigned long long factor(const unsigned at, const int k)
{
    if constexpr (ACROSS) {
        return across_depth(at + k * 2048);
    } else {
        return along_depth(at + k * 32, 1024);
    }
}

// Operands of wgmma, 32 sums at a time.
#define NAMES_0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                        \
                "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "            \
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "            \
                 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define NAMES_96 ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, "      \
                 "%111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, "    \
                 "%126, %127"
#define SUMS_4(k) "+f"(sums[k]), "+f"(sums[k + 1]), "+f"(sums[k + 2]), "+f"(sums[k + 3])
#define SUMS_16(k) SUMS_4(k), SUMS_4(k + 4), SUMS_4(k + 8), SUMS_4(k + 12)
#define SUMS_32(k) SUMS_16(k), SUMS_16(k + 16)

template <int N> struct Product;

// sums = A · B, or sums + A · B: 64 rows, N columns, 16 deep. `A_ACROSS` and `B_ACROSS` say how factors lie.
#define PRODUCT(N, NAMES, A, B, ADD, A_WAY, B_WAY, ...)                                                          \
    template <> struct Product<N> {                                                                              \
        template <bool A_ACROSS, bool B_ACROSS>                                                                  \
        static __device__ __forceinline__ void issue(                                                            \
            float (&sums)[N / 2], const unsigned long long a, const unsigned long long b, const int add)         \
        {                                                                                                        \
            asm volatile(                                                                                        \
                "{.reg .pred p; setp.ne.b32 p, %" #ADD ", 0;\n"                                                  \
                "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES "}, "                         \
                "%" #A ", %" #B ", p, 1, 1, %" #A_WAY ", %" #B_WAY ";}"                                          \
                : __VA_ARGS__                                                                                    \
                : "l"(a), "l"(b), "r"(add), "n"(A_ACROSS), "n"(B_ACROSS));                                       \
        }                                                                                                        \
    };

PRODUCT(64, NAMES_0, 32, 33, 34, 35, 36, SUMS_32(0))
PRODUCT(128, NAMES_0 NAMES_32, 64, 65, 66, 67, 68, SUMS_32(0), SUMS_32(32))
PRODUCT(192, NAMES_0 NAMES_32 NAMES_64, 96, 97, 98, 99, 100, SUMS_32(0), SUMS_32(32), SUMS_32(64))
PRODUCT(256, NAMES_0 NAMES_32 NAMES_64 NAMES_96, 128, 129, 130, 131, 132, SUMS_32(0), SUMS_32(32), SUMS_32(64),
        SUMS_32(96))

// Columns that are no power of two, of tiles that fit waves (conv2d_sm90_turned.cu).
#define NAMES_32_48 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define NAMES_48_56 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define NAMES_64_80 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define NAMES_96_104 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define SUMS_8(k) SUMS_4(k), SUMS_4(k + 4)

PRODUCT(112, NAMES_0 NAMES_32_48 NAMES_48_56, 56, 57, 58, 59, 60, SUMS_32(0), SUMS_16(32), SUMS_8(48))
PRODUCT(160, NAMES_0 NAMES_32 NAMES_64_80, 80, 81, 82, 83, 84, SUMS_32(0), SUMS_32(32), SUMS_16(64))
PRODUCT(208, NAMES_0 NAMES_32 NAMES_64 NAMES_96_104, 104, 105, 106, 107, 108, SUMS_32(0), SUMS_32(32), SUMS_32(64),
        SUMS_8(96))

// The same of tf32, 8 deep: both factors lie along the depth, there is no other way. The unit cuts the 13 lowest bits
// of what it reads; whoever wants factors to the nearest has them rounded before (TMA does, by a map that says so).
template <int N> struct ProductTf32;

#define PRODUCT_TF32(N, NAMES, A, B, ADD, ...)                                                                   \
    template <> struct ProductTf32<N> {                                                                          \
        static __device__ __forceinline__ void issue(                                                            \
            float (&sums)[N / 2], const unsigned long long a, const unsigned long long b, const int add)         \
        {                                                                                                        \
            asm volatile(                                                                                        \
                "{.reg .pred p; setp.ne.b32 p, %" #ADD ", 0;\n"                                                  \
                "wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" NAMES "}, %" #A ", %" #B ", p, 1, 1;}" \
                : __VA_ARGS__                                                                                    \
                : "l"(a), "l"(b), "r"(add));                                                                     \
        }                                                                                                        \
    };

PRODUCT_TF32(64, NAMES_0, 32, 33, 34, SUMS_32(0))
PRODUCT_TF32(128, NAMES_0 NAMES_32, 64, 65, 66, SUMS_32(0), SUMS_32(32))
PRODUCT_TF32(256, NAMES_0 NAMES_32 NAMES_64 NAMES_96, 128, 129, 130, SUMS_32(0), SUMS_32(32), SUMS_32(64), SUMS_32(96))

// Four 8x8 matrices of 16-bit elements to shared memory: lanes 8q to 8q+7 name the rows of matrix q.
__device__ __forceinline__ void store_matrices(const unsigned at, const unsigned (&from)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 ::"r"(at), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]) : "memory");
}

// The same of matrices that lie the other way: a row of memory is a column of the fragment.
__device__ __forceinline__ void store_matrices_turned(const unsigned at, const unsigned (&from)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};"
                 ::"r"(at), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]) : "memory");
}

__device__ __forceinline__ void store_word(const unsigned at, const unsigned value)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(at), "r"(value) : "memory");
}

__device__ __forceinline__ void store_half(const unsigned at, const unsigned value)
{
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(at), "h"(static_cast<unsigned short>(value)) : "memory");
}
