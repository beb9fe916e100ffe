// mma.cuh   tensor cores of sm_80 and newer: copies past the registers, fragments, products of warps
//
// A tile in shared memory is rows of 16-byte chunks, one of two ways:
//
//   along    a row is a pixel or a filter, its chunks go along the depth: ldmatrix gives fragments as they are
//   across   a row is one depth, its chunks go across pixels or filters: bf16 through ldmatrix.trans, which
//            turns 16-bit elements; tf32 by 32-bit loads
//
// Chunks of a row change places by the row's number (an exclusive or), so that neither eight rows' chunks read
// by ldmatrix nor eight chunks of a row written by cp.async meet in a bank. tests/kernels_mma.rs counts both.
//
// Fragments: PTX ISA, "Matrix fragments for mma.m16n8k16" and ".m16n8k8". A lane has group = lane/4 and
// member = lane%4. bf16 sums 16 deep at once, tf32 8: 32 bytes of a row either way, so that along the depth
// both formats go through the same addresses.
//
// 3xTF32 (CUTLASS' name): a factor of f32 is split into big, the nearest tf32, and small, what is left, of which the unit
// cuts off one bit at most: together they are off by 2^-24 of the factor, as if f32 had rounded it. A product is
// small·big + big·small + big·big, the small ones first; small·small, at most 2^-22 of it and of either sign, is left out. The unit rounds its
// sums toward zero, always in the same direction, and over a depth of 4608 that adds up to 30 to 50 times the error of
// fused multiply-adds (arXiv:2203.03341 says why). So the three products of one step of mma begin at zero, and their
// sum is added to the others by an ordinary addition, which rounds to the nearest: the error is then a third of
// fused multiply-adds'. That costs four additions for three mma, on a pipe that is idle otherwise. Big by cutting,
// as CUTLASS takes it, would save an addition of integers and leave small·small with one sign: a bias again.
//
// Nothing here needs PTX newer than 7.0: no prefetch hints on cp.async.

#pragma once

#include "common.cuh"

// The formats of factors. Sums are f32.
struct Bf16 {
    using Number = unsigned short;                   // in memory
    static constexpr int BYTES = 2;
};
struct Tf32 {
    using Number = float;                            // rounded when it becomes a factor
    static constexpr int BYTES = 4;
};
struct Tf32x3 {
    using Number = float;                            // a sum of two factors of tf32
    static constexpr int BYTES = 4;
};

// Whether a number is a sum of two factors, so that a product is three.
template <class T> constexpr bool SPLIT = false;
template <> constexpr bool SPLIT<Tf32x3> = true;

// Elements of a chunk, and depth of one mma.
template <class T> constexpr int CHUNK = 16 / T::BYTES;
template <class T> constexpr int DEEP = 32 / T::BYTES;

__device__ __forceinline__ unsigned shared_address(const void* at)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(at));
}

// 16 bytes from global to shared memory, or 16 zeros; then `from` is not read and may point anywhere.
__device__ __forceinline__ void copy16(const unsigned to, const void* from, const bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0));
}

// 16 bytes from registers to shared memory.
__device__ __forceinline__ void store16(const unsigned to, const uint4 chunk)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};"
                 ::"r"(to), "r"(chunk.x), "r"(chunk.y), "r"(chunk.z), "r"(chunk.w) : "memory");
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until at most `PENDING` groups of the thread's copies are on their way.
template <int PENDING> __device__ __forceinline__ void wait_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Where chunk `chunk` of row `row` lies, in bytes: rows of 4 or 8 chunks, depth along them. Eight rows from a
// multiple of eight at one chunk fill the 32 banks once: rows of 64 bytes share a line by twos.
template <int CHUNKS> __device__ __forceinline__ int along(const int row, const int chunk)
{
    static_assert(CHUNKS == 4 || CHUNKS == 8);
    return (row * CHUNKS + (chunk ^ (CHUNKS == 8 ? row & 7 : row >> 1 & 3))) * 16;
}

// The same for rows of one depth, 8, 16 or 32 chunks. bf16: eight rows at one chunk fill the banks once. tf32:
// four rows, eight neighbouring numbers (two chunks) each.
template <class T, int CHUNKS> __device__ __forceinline__ int across(const int row, const int chunk)
{
    static_assert(CHUNKS % 8 == 0);
    return (row * CHUNKS + (chunk ^ (T::BYTES == 2 ? row & 7 : (row & 3) * 2))) * 16;
}

// Four 8x8 matrices of 16-bit elements (or 8x4 of 32-bit): lanes 8q to 8q+7 name the rows of matrix q.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const unsigned at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at));
}

__device__ __forceinline__ void load_matrices_turned(unsigned (&to)[4], const unsigned at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at));
}

__device__ __forceinline__ unsigned load_word(const unsigned at)
{
    unsigned word;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(at));
    return word;
}

__device__ __forceinline__ uint4 load_chunk(const unsigned at)
{
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at) : "memory");
    return v;
}

// An f32 as a factor: to the nearest of 10 bits behind the point. The unit would cut.
__device__ __forceinline__ unsigned rounded(const unsigned bits)
{
    unsigned to;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(to) : "f"(__uint_as_float(bits)));
    return to;
}

template <class T> __device__ __forceinline__ void round_factors(unsigned (&factors)[4])
{
    if constexpr (T::BYTES == 4 && !SPLIT<T>) {
        #pragma unroll
        for (int k = 0; k < 4; ++k) factors[k] = rounded(factors[k]);
    }
}

// sums += A · B: 16 rows, 8 columns, DEEP<T> deep.
template <class T>
__device__ __forceinline__ void multiply(
    float (&sums)[4], const unsigned (&a)[4], const unsigned b0, const unsigned b1)
{
    if constexpr (T::BYTES == 2) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
        asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
}

// Which way a tile lies: how many chunks its rows have.
template <class T, int CHUNKS> struct Along {
    static constexpr int WIDE = CHUNKS;
    static constexpr bool TURNED = false;
    __device__ static __forceinline__ int at(const int row, const int chunk) { return along<CHUNKS>(row, chunk); }
};
template <class T, int CHUNKS> struct Across {
    static constexpr int WIDE = CHUNKS;
    static constexpr bool TURNED = true;
    __device__ static __forceinline__ int at(const int row, const int chunk) { return across<T, CHUNKS>(row, chunk); }
};

// The factors of sixteen rows of A from row `row` on, step `k` of DEEP<T>.
template <class T, class Layout>
__device__ __forceinline__ void load_a(unsigned (&to)[4], const unsigned tile, const int row, const int k)
{
    const int lane = threadIdx.x % 32;
    if constexpr (!Layout::TURNED) {
        load_matrices(to, tile + Layout::at(row + lane % 16, k * 2 + lane / 16));
    } else if constexpr (T::BYTES == 2) {
        load_matrices_turned(to, tile + Layout::at(k * 16 + lane % 8 + lane / 16 * 8, row / 8 + lane / 8 % 2));
    } else {
        const int column = row + lane / 4;
        #pragma unroll
        for (int q = 0; q < 4; ++q)
            to[q] = load_word(
                tile + Layout::at(k * 8 + lane % 4 + q / 2 * 4, (column + q % 2 * 8) / 4) + column % 4 * 4);
    }
    round_factors<T>(to);
}

// The factors of sixteen columns of B from column `column` on: the first two for the lower eight.
template <class T, class Layout>
__device__ __forceinline__ void load_b(unsigned (&to)[4], const unsigned tile, const int column, const int k)
{
    const int lane = threadIdx.x % 32;
    if constexpr (!Layout::TURNED) {
        load_matrices(to, tile + Layout::at(column + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
    } else if constexpr (T::BYTES == 2) {
        load_matrices_turned(to, tile + Layout::at(k * 16 + lane % 16, column / 8 + lane / 16));
    } else {
        const int mine = column + lane / 4;
        #pragma unroll
        for (int q = 0; q < 4; ++q)
            to[q] = load_word(
                tile + Layout::at(k * 8 + lane % 4 + q % 2 * 4, (mine + q / 2 * 8) / 4) + mine % 4 * 4);
    }
    round_factors<T>(to);
}

// Of f32 the nearest tf32 stays; what that leaves out goes to `small`, exactly. Of a NaN, and of what is infinite or
// becomes so, `small` is NaN whatever `big` is. In integers, as cvt.rna would also ask whether x is finite.
__device__ __forceinline__ void split_factors(unsigned (&big)[4], unsigned (&small)[4])
{
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        const float x = __uint_as_float(big[k]);
        big[k] = (big[k] + 0x1000u) & ~0x1fffu;
        small[k] = __float_as_uint(x - __uint_as_float(big[k]));
    }
}

// The products of sixteen rows of A with all columns of B are added to `sums`.
template <class T, int COLUMNS>
__device__ __forceinline__ void multiply_row(
    float (&sums)[COLUMNS][4], const unsigned (&a)[4], const unsigned (&b)[COLUMNS / 2][4])
{
    #pragma unroll
    for (int j = 0; j < COLUMNS; ++j) multiply<T>(sums[j], a, b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
}

// sums += A · B of a warp, DEEP<T> deep: step `k` of the tiles, rows of A from `row` on, columns of B from `column`.
template <class T, class A, class B, int ROWS, int COLUMNS>
__device__ __forceinline__ void multiply_tiles(
    float (&sums)[ROWS][COLUMNS][4], const unsigned tile_a, const int row, const unsigned tile_b, const int column,
    const int k)
{
    unsigned a[ROWS][4], b[COLUMNS / 2][4];
    if constexpr (!SPLIT<T>) {
        #pragma unroll
        for (int i = 0; i < ROWS; ++i) load_a<T, A>(a[i], tile_a, row + i * 16, k);
    }
    #pragma unroll
    for (int j = 0; j < COLUMNS / 2; ++j) load_b<T, B>(b[j], tile_b, column + j * 16, k);
    if constexpr (SPLIT<T>) {
        unsigned small_b[COLUMNS / 2][4];
        #pragma unroll
        for (int j = 0; j < COLUMNS / 2; ++j) split_factors(b[j], small_b[j]);
        #pragma unroll
        for (int i = 0; i < ROWS; ++i) {
            // One row's factors at a time, for the sake of registers.
            unsigned small_a[4];
            load_a<T, A>(a[i], tile_a, row + i * 16, k);
            split_factors(a[i], small_a);
            float terms[COLUMNS][4] = {};
            multiply_row<T>(terms, small_a, b);
            multiply_row<T>(terms, a[i], small_b);
            multiply_row<T>(terms, a[i], b);
            #pragma unroll
            for (int j = 0; j < COLUMNS; ++j)
                #pragma unroll
                for (int q = 0; q < 4; ++q) sums[i][j][q] += terms[j][q];
        }
    } else {
        #pragma unroll
        for (int i = 0; i < ROWS; ++i) multiply_row<T>(sums[i], a[i], b);
    }
}

// Two neighbouring sums as T has them in memory.
__device__ __forceinline__ unsigned pack_bf16(const float low, const float high)
{
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ __forceinline__ float low_bf16(const unsigned both) { return __uint_as_float(both << 16); }
__device__ __forceinline__ float high_bf16(const unsigned both) { return __uint_as_float(both & 0xffff0000u); }

// sums += the numbers of a chunk.
template <class T> __device__ __forceinline__ void add_chunk(float (&sums)[CHUNK<T>], const uint4 chunk)
{
    const unsigned words[4] = {chunk.x, chunk.y, chunk.z, chunk.w};
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        if constexpr (T::BYTES == 2) {
            sums[2 * k] += low_bf16(words[k]);
            sums[2 * k + 1] += high_bf16(words[k]);
        } else {
            sums[k] += __uint_as_float(words[k]);
        }
    }
}
