// mma.cuh   tensor cores of sm_75 and newer: copies to shared memory, fragments, warp-level products
//
// A tile in shared memory is rows of 16-byte chunks, in one of two layouts:
//
//   K-major    a row is a pixel or a filter, its chunks run along K: ldmatrix gives fragments as they are
//   MN-major   a row is one K, its chunks run along pixels or filters: bf16 and f16 through ldmatrix.trans, which
//              transposes 16-bit elements; tf32 by 32-bit loads
//
// Tiles are swizzled: the chunks of a row are permuted by the row's number (an exclusive or), so that neither the
// chunks of eight rows that ldmatrix reads nor the eight chunks of a row that cp.async writes conflict in a bank.
// tests/kernels_mma.rs counts both.
//
// Fragments: PTX ISA, "Matrix fragments for mma.m16n8k16" and ".m16n8k8". A lane has group = lane/4 and member =
// lane%4. mma has K = 16 of bf16, 8 of tf32: 32 bytes of a row either way, so that K-major both formats go through the
// same addresses. f16 has bf16's fragments, but is multiplied by two mma of K = 8: sm_75 has no more.
//
// 3xTF32 (CUTLASS' name): an f32 operand is split into big, the nearest tf32, and small, the remainder, of which the
// tensor core truncates at most one bit: together they are off by at most 2^-23 of the operand, one unit in its last
// place, and by 2^-24.5 in the root mean square. A product is small·big + big·small + big·big, the small ones first;
// small·small, at most 2^-22 of it and of either sign, is left out. Tensor cores round accumulators toward zero, always
// in the same direction, and over K = 4608 that adds up to 30 to 50 times the error of fused multiply-adds
// (arXiv:2203.03341 says why). So the three products of a step start from zero, and an ordinary addition, which rounds
// to nearest, adds them to the accumulators: the error is then a third of that of fused multiply-adds. That costs four
// additions for three mma, on a pipe that is otherwise idle. Truncating to get big, as CUTLASS does, would save an
// integer addition and give small·small one sign: a bias again.
//
// Nothing here needs PTX newer than 7.0: no prefetch hints on cp.async.

#pragma once

#include "common.cuh"
#include "half.cuh"

// The formats of operands: Bf16, F16 and these. Accumulators are f32.
struct Tf32 {
    using Number = float;                            // rounded when it becomes an operand
    static constexpr int BYTES = 4;
    static constexpr bool COPIES = true;             // by cp.async
};
struct Tf32x3 {
    using Number = float;                            // split into two operands of tf32
    static constexpr int BYTES = 4;
    static constexpr bool COPIES = true;
};

// Whether an operand is split into two, so that a product is three.
template <class T> constexpr bool IS_3XTF32 = false;
template <> constexpr bool IS_3XTF32<Tf32x3> = true;

template <class A, class B> constexpr bool SAME = false;
template <class A> constexpr bool SAME<A, A> = true;

// Elements of a chunk, and K of one mma.
template <class T> constexpr int CHUNK = 16 / T::BYTES;
template <class T> constexpr int MMA_K = 32 / T::BYTES;

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

// Until at most `PENDING` groups of the thread's copies are in flight.
template <int PENDING> __device__ __forceinline__ void wait_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// A step's chunks go to shared memory slot by slot, each to its place: by cp.async,
struct Copies {
    __device__ __forceinline__ void operator()(const int, const unsigned to, const void* from, const bool there)
    {
        copy16(to, from, there);
    }
};

// or, on GPUs without it, through SLOTS registers of 16 bytes: read a step ahead, stored when the stage is free.
// Places are offsets in a stage, so that they stay the same from step to step.
template <int SLOTS> struct RegisterStaging {
    uint4 chunk[SLOTS];
    unsigned place[SLOTS];

    __device__ __forceinline__ void operator()(const int slot, const unsigned to, const void* from, const bool there)
    {
        place[slot] = to;
        chunk[slot] = make_uint4(0, 0, 0, 0);
        if (there) chunk[slot] = *static_cast<const uint4*>(from);
    }

    __device__ __forceinline__ void store(const unsigned stage) const
    {
        #pragma unroll
        for (int k = 0; k < SLOTS; ++k)
            store16(stage + place[k], chunk[k]);
    }
};

// Where chunk `chunk` of row `row` of a K-major tile lies, in bytes: rows of 4 or 8 chunks. Eight rows from a
// multiple of eight at one chunk fill the 32 banks once: two rows of 64 bytes share a line.
template <int CHUNKS> __device__ __forceinline__ int k_major_offset(const int row, const int chunk)
{
    static_assert(CHUNKS == 4 || CHUNKS == 8);
    return (row * CHUNKS + (chunk ^ (CHUNKS == 8 ? row & 7 : row >> 1 & 3))) * 16;
}

// The same of an MN-major tile, rows of 8, 16 or 32 chunks. 16 bits: eight rows at one chunk fill the banks once. tf32:
// four rows do, with eight neighbouring numbers (two chunks) each.
template <class T, int CHUNKS> __device__ __forceinline__ int mn_major_offset(const int row, const int chunk)
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

__device__ __forceinline__ void load_matrices_trans(unsigned (&to)[4], const unsigned at)
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

// An f32 as a tf32 operand: rounded to nearest, 10 bits of mantissa. The tensor core would truncate.
__device__ __forceinline__ unsigned rounded(const unsigned bits)
{
    unsigned to;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(to) : "f"(__uint_as_float(bits)));
    return to;
}

template <class T> __device__ __forceinline__ void round_operands(unsigned (&operands)[4])
{
    if constexpr (T::BYTES == 4 && !IS_3XTF32<T>) {
        #pragma unroll
        for (int k = 0; k < 4; ++k) operands[k] = rounded(operands[k]);
    }
}

// acc += A · B: M = 16, N = 8, K = MMA_K<T>.
template <class T>
__device__ __forceinline__ void multiply(
    float (&acc)[4], const unsigned (&a)[4], const unsigned b0, const unsigned b1)
{
    if constexpr (SAME<T, F16>) {
        #pragma unroll
        for (int k = 0; k < 2; ++k)
            asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
                : "r"(a[2 * k]), "r"(a[2 * k + 1]), "r"(k == 0 ? b0 : b1));
    } else if constexpr (SAME<T, Bf16>) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
        asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
}

// A tile's layout; CHUNKS are those of a row.
template <class T, int CHUNKS> struct KMajor {
    static constexpr int WIDE = CHUNKS;
    static constexpr bool MN_MAJOR = false;
    __device__ static __forceinline__ int at(const int row, const int chunk)
    {
        return k_major_offset<CHUNKS>(row, chunk);
    }
};
template <class T, int CHUNKS> struct MNMajor {
    static constexpr int WIDE = CHUNKS;
    static constexpr bool MN_MAJOR = true;
    __device__ static __forceinline__ int at(const int row, const int chunk)
    {
        return mn_major_offset<T, CHUNKS>(row, chunk);
    }
};

// Where a lane's word of an MN-major tile of 32-bit numbers lies: K = 8k + 4·half + member, number 8·eight + group of
// the warp's, which begin at `first`, a multiple of as many. `first` and `eight` set different bits, so every address is
// the lane's own place xor a constant, plus a constant for the row of K: one operation for two loads, whose immediate
// offsets hold the rest. Written as Layout::at, it has five.
template <class Layout> __device__ __forceinline__ int word_offset(const int first, const int eight, const int k, const int half)
{
    const int lane = threadIdx.x % 32;
    const int mine = Layout::at(lane % 4, first / 4 + lane / 16) + lane / 4 % 4 * 4;
    return (mine ^ eight * 2 * 16) + (k * 8 + half * 4) * Layout::WIDE * 16;
}

// The fragments of rows 16i to 16i + 15 of the warp's of A, which begin at row `first`; K from k·MMA_K<T> on.
template <class T, class Layout>
__device__ __forceinline__ void load_a(
    unsigned (&to)[4], const unsigned tile, const int first, const int i, const int k)
{
    const int lane = threadIdx.x % 32, row = first + i * 16;
    if constexpr (!Layout::MN_MAJOR) {
        load_matrices(to, tile + Layout::at(row + lane % 16, k * 2 + lane / 16));
    } else if constexpr (T::BYTES == 2) {
        load_matrices_trans(to, tile + Layout::at(k * 16 + lane % 8 + lane / 16 * 8, row / 8 + lane / 8 % 2));
    } else {
        #pragma unroll
        for (int q = 0; q < 4; ++q)
            to[q] = load_word(tile + word_offset<Layout>(first, i * 2 + q % 2, k, q / 2));
    }
    round_operands<T>(to);
}

// The fragments of columns 16j to 16j + 15 of the warp's of B, which begin at column `first`: the first two words are
// those of the lower eight.
template <class T, class Layout>
__device__ __forceinline__ void load_b(
    unsigned (&to)[4], const unsigned tile, const int first, const int j, const int k)
{
    const int lane = threadIdx.x % 32, column = first + j * 16;
    if constexpr (!Layout::MN_MAJOR) {
        load_matrices(to, tile + Layout::at(column + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
    } else if constexpr (T::BYTES == 2) {
        load_matrices_trans(to, tile + Layout::at(k * 16 + lane % 16, column / 8 + lane / 16));
    } else {
        #pragma unroll
        for (int q = 0; q < 4; ++q)
            to[q] = load_word(tile + word_offset<Layout>(first, j * 2 + q / 2, k, q % 2));
    }
    round_operands<T>(to);
}

// The nearest tf32 stays in `big`; the remainder goes to `small`, exactly. For NaN, and for what is or becomes
// infinite, `small` is NaN whatever `big` is. Integer arithmetic, because cvt.rna would also test whether x is
// finite.
__device__ __forceinline__ void split_tf32(unsigned (&big)[4], unsigned (&small)[4])
{
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        const float x = __uint_as_float(big[k]);
        big[k] = (big[k] + 0x1000u) & ~0x1fffu;
        small[k] = __float_as_uint(x - __uint_as_float(big[k]));
    }
}

// acc += the products of sixteen rows of A with all columns of B.
template <class T, int COLUMNS>
__device__ __forceinline__ void multiply_row(
    float (&acc)[COLUMNS][4], const unsigned (&a)[4], const unsigned (&b)[COLUMNS / 2][4])
{
    #pragma unroll
    for (int j = 0; j < COLUMNS; ++j) multiply<T>(acc[j], a, b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
}

// acc += A · B of a warp, K = MMA_K<T>: step `k` of the tiles, rows of A from `row` on, columns of B from `column`.
template <class T, class A, class B, int ROWS, int COLUMNS>
__device__ __forceinline__ void multiply_tiles(
    float (&acc)[ROWS][COLUMNS][4], const unsigned tile_a, const int row, const unsigned tile_b, const int column,
    const int k)
{
    unsigned a[ROWS][4], b[COLUMNS / 2][4];
    if constexpr (!IS_3XTF32<T>) {
        #pragma unroll
        for (int i = 0; i < ROWS; ++i) load_a<T, A>(a[i], tile_a, row, i, k);
    }
    #pragma unroll
    for (int j = 0; j < COLUMNS / 2; ++j) load_b<T, B>(b[j], tile_b, column, j, k);
    if constexpr (IS_3XTF32<T>) {
        unsigned small_b[COLUMNS / 2][4];
        #pragma unroll
        for (int j = 0; j < COLUMNS / 2; ++j) split_tf32(b[j], small_b[j]);
        #pragma unroll
        for (int i = 0; i < ROWS; ++i) {
            // One row's fragments at a time, to save registers.
            unsigned small_a[4];
            load_a<T, A>(a[i], tile_a, row, i, k);
            split_tf32(a[i], small_a);
            float terms[COLUMNS][4] = {};
            multiply_row<T>(terms, small_a, b);
            multiply_row<T>(terms, a[i], small_b);
            multiply_row<T>(terms, a[i], b);
            #pragma unroll
            for (int j = 0; j < COLUMNS; ++j)
                #pragma unroll
                for (int q = 0; q < 4; ++q) acc[i][j][q] += terms[j][q];
        }
    } else {
        #pragma unroll
        for (int i = 0; i < ROWS; ++i) multiply_row<T>(acc[i], a[i], b);
    }
}

// Two neighbouring results in 16 bits, as they lie in memory.
__device__ __forceinline__ unsigned pack_bf16(const float low, const float high)
{
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

template <class T> __device__ __forceinline__ unsigned pack(const float low, const float high)
{
    if constexpr (SAME<T, Bf16>) {
        return pack_bf16(low, high);
    } else {
        return both_of<T>(low, high);
    }
}

// sums += the numbers of a chunk.
template <class T> __device__ __forceinline__ void add_chunk(float (&sums)[CHUNK<T>], const uint4 chunk)
{
    const unsigned words[4] = {chunk.x, chunk.y, chunk.z, chunk.w};
    #pragma unroll
    for (int k = 0; k < 4; ++k) {
        if constexpr (T::BYTES == 2) {
            sums[2 * k] += low_of<T>(words[k]);
            sums[2 * k + 1] += high_of<T>(words[k]);
        } else {
            sums[k] += __uint_as_float(words[k]);
        }
    }
}
