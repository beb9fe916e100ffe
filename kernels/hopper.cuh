// hopper.cuh   what sm_90a adds to mma.cuh: mbarriers, the tensor memory accelerator (TMA), wgmma
//
// TMA moves boxes of tensors between global and shared memory: one thread asks, nobody waits. What comes in is counted
// in bytes by an mbarrier; what goes out is waited for in groups. A box has rows of 128 bytes, in which the 16-byte
// chunks are swizzled by address (bits 4 to 6 xor bits 7 to 9). TMA asks for a multiple of 128. Tiles begin at
// multiples of 1024, where the pattern begins anew: a convention, so that row r of each is permuted by r % 8
// (`swizzled_offset`). Numbers outside a tensor are read as zeros and not written.
//
// wgmma: a warpgroup (four warps) multiplies M = 64 by N, K = 16 (8 of tf32), with operands where TMA put them, A also from
// registers, and the accumulators in registers: warp q has rows 16q to 16q + 15, as "Register Fragments for wgmma
// .m64nNk16" of the PTX ISA lays them out: those of mma.m16n8k16, eight columns after eight. wgmma are issued and waited
// for later; from `wgmma_fence` to `wgmma_wait` the accumulators are the tensor core's.
//
// TMA and wgmma see shared memory through the async proxy: `fence_proxy_async` stands between a thread's stores and
// what they read of them.

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

// Before anyone else, TMA included, uses barriers that this thread has initialized. The first fence shows them to other
// blocks of a cluster; the second, as it does all plain writes, to the async proxy, through which TMA counts bytes.
// (The emulator is content with either.)
__device__ __forceinline__ void fence_barrier_init()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void arrive(const unsigned barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and keeps the phase open until so many bytes have arrived.
__device__ __forceinline__ void arrive_expect_tx(const unsigned barrier, const int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// Until the phase of this parity is over; that of parity 1 counts as over in a new barrier.
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

// im2col: what tap (i, j) of a 3x3 window sees of a run of pixels; (w, h, n) is the first one's place less the padding.
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

// ReLU as one max.NaN; maps -0 to +0, unlike `rectify`.
__device__ __forceinline__ float rectify_sum(const float x)
{
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(0.0f));
    return y;
}

// Clusters: blocks that run at the same time and can address each other's shared memory.

__device__ __forceinline__ int rank_in_cluster()
{
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return int(rank);
}

// A barrier of all threads of the cluster, before others use barriers that a block has initialized
// (`fence_barrier_init`). Relaxed, because it orders nothing else, and a release would be a fence of all of the GPU's
// memory. So it does not wait for arrivals that are on their way to another block.
__device__ __forceinline__ void cluster_sync_relaxed()
{
    // One lane may have worked while the others idled.
    __syncwarp();
    asm volatile("barrier.cluster.arrive.relaxed.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// The same, and behind it all threads of the cluster see what any of them wrote to global memory before.
__device__ __forceinline__ void cluster_sync()
{
    __syncwarp();
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Arrives at the barrier of block `rank` that lies where `barrier` does in this one, without memory ordering at cluster
// scope: `.release.cluster` compiles to a fence of all of the GPU's memory (MEMBAR.ALL.GPU, and CCTL.IVALL behind the
// wait), a microsecond of every step (a whole convolution of 46 us takes 71 on an H200). A stage freed this way has
// been read by wgmma and is written by TMA: no loads or stores of threads are involved, so there is nothing to order
// for another block's threads.
__device__ __forceinline__ void arrive_remote(const unsigned barrier, const int rank)
{
    asm volatile(
        "{.reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [there];}" ::"r"(barrier), "r"(rank) : "memory");
}

// load_pixels to several blocks, a bit of `blocks` each: to the same offset in all, where barriers at the same offset
// count the bytes.
__device__ __forceinline__ void load_pixels_multicast(
    const unsigned short blocks, const unsigned to, const TensorMap* map, const unsigned barrier, const int c,
    const int w, const int h, const int n, const int i, const int j)
{
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8}, %9;"
        ::"r"(to), "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(n), "h"(static_cast<unsigned short>(j)),
        "h"(static_cast<unsigned short>(i)), "h"(blocks) : "memory");
}

__device__ __forceinline__ void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

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

// wgmma.

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

template <int PENDING> __device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// No instruction: keeps the compiler from reading accumulators before this point. It does not know that wgmma writes
// them later.
template <int M_TILES, int COUNT> __device__ __forceinline__ void fence_acc(float (&acc)[M_TILES][COUNT])
{
    #pragma unroll
    for (int i = 0; i < M_TILES; ++i)
        #pragma unroll
        for (int k = 0; k < COUNT; ++k) asm volatile("" : "+f"(acc[i][k])::"memory");
}

// setmaxnreg: the producer gives registers to the consumers. All warps together may have 64 Ki.
template <int COUNT> __device__ __forceinline__ void dealloc_registers()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}
template <int COUNT> __device__ __forceinline__ void alloc_registers()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

// A barrier of `threads` threads; id 0 is that of __syncthreads.
__device__ __forceinline__ void named_barrier_sync(const int id, const int threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// An operand in shared memory, "Matrix Descriptor Format" of the PTX ISA: 128-byte swizzle, strides in units of 16
// bytes. Bits 0-13 address, 16-29 leading offset (of K-major with swizzle not used, 1), 32-45 stride from eight rows to
// the next, 49-51 base offset, 62-63 swizzle (1: 128 bytes). The base offset says how many rows of 128 bytes behind a
// multiple of 1024 the swizzle's pattern begins. It is 0 here even where an operand begins at another row, as for the
// shifted reads of conv2d_sm90_halo.cuh: TMA swizzles by address, so the pattern always begins at multiples of 1024.
// K-major: a row of memory is a row (or column) of the product, K = 64; eight rows are `group` bytes.
__device__ __forceinline__ unsigned long long k_major_descriptor(const unsigned at, const int group)
{
    return 1ull << 62 | static_cast<unsigned long long>(group >> 4) << 32 | 1ull << 16 | (at & 0x3ffff) >> 4;
}

// MN-major: a row of memory is one K of 64 rows (or columns); the next 64 of them follow after 64 K.
__device__ __forceinline__ unsigned long long mn_major_descriptor(const unsigned at)
{
    return 1ull << 62 | 1024ull >> 4 << 32 | 8192ull >> 4 << 16 | (at & 0x3ffff) >> 4;
}

// An operand of either layout from the k-th 32 bytes of its rows on: K = 16·k, of tf32 8·k. The address may begin inside a
// swizzled row, because the unit permutes the bits of the final address, not the chunks of a numbered row.
template <bool MN_MAJOR> __device__ __forceinline__ unsigned long long smem_descriptor(const unsigned at, const int k)
{
    if constexpr (MN_MAJOR) {
        return mn_major_descriptor(at + k * 2048);
    } else {
        return k_major_descriptor(at + k * 32, 1024);
    }
}

// Registers of wgmma, 32 accumulators at a time.
#define NAMES_0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                        \
                "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "            \
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "            \
                 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define NAMES_96 ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, "      \
                 "%111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, "    \
                 "%126, %127"
#define ACC_4(k) "+f"(acc[k]), "+f"(acc[k + 1]), "+f"(acc[k + 2]), "+f"(acc[k + 3])
#define ACC_16(k) ACC_4(k), ACC_4(k + 4), ACC_4(k + 8), ACC_4(k + 12)
#define ACC_32(k) ACC_16(k), ACC_16(k + 16)

template <int N> struct Wgmma;

// acc = A · B, or acc + A · B if `add`: M = 64, K = 16. `A_MN_MAJOR` and `B_MN_MAJOR` are the operands' layouts.
#define WGMMA(N, NAMES, A, B, ADD, A_LAYOUT, B_LAYOUT, ...)                                                      \
    template <> struct Wgmma<N> {                                                                                \
        template <bool A_MN_MAJOR, bool B_MN_MAJOR>                                                              \
        static __device__ __forceinline__ void issue(                                                            \
            float (&acc)[N / 2], const unsigned long long a, const unsigned long long b, const int add)          \
        {                                                                                                        \
            asm volatile(                                                                                        \
                "{.reg .pred p; setp.ne.b32 p, %" #ADD ", 0;\n"                                                  \
                "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" NAMES "}, "                         \
                "%" #A ", %" #B ", p, 1, 1, %" #A_LAYOUT ", %" #B_LAYOUT ";}"                                    \
                : __VA_ARGS__                                                                                    \
                : "l"(a), "l"(b), "r"(add), "n"(A_MN_MAJOR), "n"(B_MN_MAJOR));                                   \
        }                                                                                                        \
    };

WGMMA(64, NAMES_0, 32, 33, 34, 35, 36, ACC_32(0))
WGMMA(128, NAMES_0 NAMES_32, 64, 65, 66, 67, 68, ACC_32(0), ACC_32(32))
WGMMA(192, NAMES_0 NAMES_32 NAMES_64, 96, 97, 98, 99, 100, ACC_32(0), ACC_32(32), ACC_32(64))
WGMMA(256, NAMES_0 NAMES_32 NAMES_64 NAMES_96, 128, 129, 130, 131, 132, ACC_32(0), ACC_32(32), ACC_32(64),
        ACC_32(96))

// Other N, of tiles that fill whole waves (conv2d_sm90_turned.cu).
#define NAMES_32_48 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define NAMES_48_56 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define NAMES_64_80 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define NAMES_96_104 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define ACC_8(k) ACC_4(k), ACC_4(k + 4)

WGMMA(112, NAMES_0 NAMES_32_48 NAMES_48_56, 56, 57, 58, 59, 60, ACC_32(0), ACC_16(32), ACC_8(48))
WGMMA(160, NAMES_0 NAMES_32 NAMES_64_80, 80, 81, 82, 83, 84, ACC_32(0), ACC_32(32), ACC_16(64))
WGMMA(208, NAMES_0 NAMES_32 NAMES_64 NAMES_96_104, 104, 105, 106, 107, 108, ACC_32(0), ACC_32(32), ACC_32(64),
        ACC_8(96))

// The same of tf32, K = 8. Operands in shared memory are K-major: wgmma has no other layout for tf32. It truncates the 13
// lowest bits of what it reads; operands rounded to nearest must be so before (TMA does it, with a map of type TFLOAT32).
//
// A may also come from registers: `a` are those of mma.m16n8k8, of the warp's 16 rows ("Register Fragments for
// wgmma.m64nNk8"). They are the tensor core's like the accumulators: until the wgmma is waited for nobody writes them.
template <int N> struct WgmmaTf32;

#define WGMMA_TF32(N, NAMES, A, B, ADD, A1, A2, A3, B_OF_REGISTERS, ADD_OF_REGISTERS, ...)                       \
    template <> struct WgmmaTf32<N> {                                                                            \
        static __device__ __forceinline__ void issue(                                                            \
            float (&acc)[N / 2], const unsigned long long a, const unsigned long long b, const int add)          \
        {                                                                                                        \
            asm volatile(                                                                                        \
                "{.reg .pred p; setp.ne.b32 p, %" #ADD ", 0;\n"                                                  \
                "wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" NAMES "}, %" #A ", %" #B ", p, 1, 1;}" \
                : __VA_ARGS__                                                                                    \
                : "l"(a), "l"(b), "r"(add));                                                                     \
        }                                                                                                        \
                                                                                                                 \
        static __device__ __forceinline__ void issue(                                                            \
            float (&acc)[N / 2], const unsigned (&a)[4], const unsigned long long b, const int add)              \
        {                                                                                                        \
            asm volatile(                                                                                        \
                "{.reg .pred p; setp.ne.b32 p, %" #ADD_OF_REGISTERS ", 0;\n"                                     \
                "wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" NAMES "}, "                          \
                "{%" #A ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #B_OF_REGISTERS ", p, 1, 1;}"                       \
                : __VA_ARGS__                                                                                    \
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));                                 \
        }                                                                                                        \
    };

WGMMA_TF32(64, NAMES_0, 32, 33, 34, 33, 34, 35, 36, 37, ACC_32(0))
WGMMA_TF32(128, NAMES_0 NAMES_32, 64, 65, 66, 65, 66, 67, 68, 69, ACC_32(0), ACC_32(32))
WGMMA_TF32(256, NAMES_0 NAMES_32 NAMES_64 NAMES_96, 128, 129, 130, 129, 130, 131, 132, 133, ACC_32(0), ACC_32(32),
           ACC_32(64), ACC_32(96))

// Where chunk `chunk` of row `row` of a box lies, in bytes: rows of 128, TMA's 128-byte swizzle.
__device__ __forceinline__ unsigned swizzled_offset(const int row, const int chunk)
{
    return row * 128 + ((chunk ^ (row & 7)) << 4);
}

// Four 8x8 matrices of 16-bit elements to shared memory: lanes 8q to 8q+7 name the rows of matrix q.
__device__ __forceinline__ void store_matrices(const unsigned at, const unsigned (&from)[4])
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 ::"r"(at), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]) : "memory");
}

// The same, transposed: a row of memory is a column of the fragment.
__device__ __forceinline__ void store_matrices_trans(const unsigned at, const unsigned (&from)[4])
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
