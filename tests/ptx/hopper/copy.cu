// One box: from a tensor to shared memory, whose bytes are shown as they lie; and from shared memory to a tensor.
#include <cstdint>
#define DEV __device__ __forceinline__
struct __align__(64) Map {
    unsigned char bytes[128];
};
struct Place {
    int at[5], offset[3];
};
DEV uint32_t place(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }
#define LOAD(RANK, MODE, COORDINATES, TAIL, ...)                                                                    \
    asm volatile("cp.async.bulk.tensor." RANK ".shared::cluster.global" MODE                                        \
                 ".mbarrier::complete_tx::bytes [%0], [%1, " COORDINATES "], [%2]" TAIL ";" ::"r"(to),              \
                 "l"(map), "r"(bar), "r"(p.at[0]), "r"(p.at[1]), "r"(p.at[2]), "r"(p.at[3]), "r"(p.at[4]),          \
                 "h"(uint16_t(p.offset[0])), "h"(uint16_t(p.offset[1])), "h"(uint16_t(p.offset[2]))                 \
                 : "memory")
#define STORE(RANK, COORDINATES)                                                                                    \
    asm volatile("cp.async.bulk.tensor." RANK ".global.shared::cta.tile.bulk_group [%0, " COORDINATES "], [%1];" :: \
                 "l"(map), "r"(from), "r"(p.at[0]), "r"(p.at[1]), "r"(p.at[2]), "r"(p.at[3]), "r"(p.at[4])          \
                 : "memory")
template <class F> DEV void load(F copy, unsigned char* out, int bytes) {
    extern __shared__ __align__(1024) unsigned char tile[];
    __shared__ __align__(8) uint64_t full;
    const uint32_t bar = place(&full);
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\nfence.mbarrier_init.release.cluster;" ::"r"(bar) : "memory");
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
        copy(place(tile), bar);
    }
    __syncthreads();
    asm volatile(
        "{.reg .pred p;\nAGAIN: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], 0;\n@!p bra AGAIN;\n}" ::"r"(bar)
        : "memory");
    for (int i = threadIdx.x; i < bytes; i += blockDim.x) out[i] = tile[i];
}
#define LOADS(NAME, ...)                                                                                            \
    extern "C" __global__ void NAME(const __grid_constant__ Map m, const __grid_constant__ Place p,                 \
                                    unsigned char* out, int bytes) {                                                \
        const Map* map = &m;                                                                                        \
        load([&](uint32_t to, uint32_t bar) { LOAD(__VA_ARGS__); }, out, bytes);                                    \
    }
LOADS(load_1d, "1d", "", "{%3}", "")
LOADS(load_2d, "2d", ".tile", "{%3, %4}", "")
LOADS(load_3d, "3d", ".tile", "{%3, %4, %5}", "")
LOADS(load_4d, "4d", ".tile", "{%3, %4, %5, %6}", "")
LOADS(load_5d, "5d", ".tile", "{%3, %4, %5, %6, %7}", "")
LOADS(im2col_3d, "3d", ".im2col", "{%3, %4, %5}", ", {%8}")
LOADS(im2col_4d, "4d", ".im2col", "{%3, %4, %5, %6}", ", {%8, %9}")
LOADS(im2col_5d, "5d", ".im2col", "{%3, %4, %5, %6, %7}", ", {%8, %9, %10}")
template <class F> DEV void store(F copy, const unsigned char* in, int bytes) {
    extern __shared__ __align__(1024) unsigned char tile[];
    for (int i = threadIdx.x; i < bytes; i += blockDim.x) tile[i] = in[i];
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    if (threadIdx.x == 0) {
        copy(place(tile));
        asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;" ::: "memory");
    }
}
#define STORES(NAME, ...)                                                                                           \
    extern "C" __global__ void NAME(const __grid_constant__ Map m, const __grid_constant__ Place p,                 \
                                    const unsigned char* in, int bytes) {                                           \
        const Map* map = &m;                                                                                        \
        store([&](uint32_t from) { STORE(__VA_ARGS__); }, in, bytes);                                               \
    }
STORES(store_1d, "1d", "{%2}")
STORES(store_2d, "2d", "{%2, %3}")
STORES(store_3d, "3d", "{%2, %3, %4}")
STORES(store_4d, "4d", "{%2, %3, %4, %5}")
STORES(store_5d, "5d", "{%2, %3, %4, %5, %6}")
