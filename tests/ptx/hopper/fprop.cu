// A 3x3 convolution of sm_90a for tests of the emulator: persistent, warp-specialised implicit GEMM. One
// producer warpgroup (one thread issues TMA: im2col for activations, tiled for weights), NC consumer
// warpgroups, each m64 x BN; a ring of ST stages guarded by full/empty mbarriers.
#include <cuda_bf16.h>
#include <cstdint>
#include "wgmma.h"
#define DEV __device__ __forceinline__
struct __align__(64) TMap { unsigned char b[128]; };
DEV uint32_t s2u(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }
DEV void mbar_init(uint32_t b, int c) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(b), "r"(c)); }
DEV void mbar_tx(uint32_t b, int n) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(n) : "memory"); }
DEV void mbar_arrive(uint32_t b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b) : "memory"); }
DEV void mbar_wait(uint32_t b, int ph) {
  asm volatile("{.reg .pred p; L%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @p bra D%=; bra L%=; D%=: }" ::"r"(b), "r"(ph) : "memory"); }
DEV void tma_im2col(uint32_t d, const TMap* m, uint32_t bar, int c, int w, int h, int n, uint16_t ow, uint16_t oh) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3,%4,%5,%6}], [%2], {%7,%8};"
    ::"r"(d), "l"(m), "r"(bar), "r"(c), "r"(w), "r"(h), "r"(n), "h"(ow), "h"(oh) : "memory"); }
DEV void tma_2d(uint32_t d, const TMap* m, uint32_t bar, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3,%4}], [%2];"
    ::"r"(d), "l"(m), "r"(bar), "r"(x), "r"(y) : "memory"); }
DEV uint64_t desc(uint32_t a) {                       // K-major, 128B swizzle, SBO = 1024
  return (uint64_t)((a & 0x3FFFF) >> 4) | ((uint64_t)1 << 16) | ((uint64_t)(1024 >> 4) << 32) | ((uint64_t)1 << 62); }
template <int BN> DEV void wg(float (&d)[BN / 2], uint64_t a, uint64_t b, int sd) {
  if constexpr (BN == 64) wg64(d, a, b, sd); else if constexpr (BN == 128) wg128(d, a, b, sd); else wg256(d, a, b, sd); }

template <int NC, int BN, int ST>
DEV void body(const TMap& mapX, const TMap& mapW, const float* __restrict__ bias, __nv_bfloat16* __restrict__ Y,
              int H, int W, int C, int K, int M, int tiles_m, int tiles) {
  constexpr int BM = NC * 64, BK = 64, SA = BM * BK * 2, SB = BN * BK * 2;
  extern __shared__ __align__(1024) uint8_t sm[];
  __shared__ __align__(8) uint64_t full[ST], empty[ST];
  const uint32_t base = s2u(sm);
  const int wgid = threadIdx.x >> 7;
  if (threadIdx.x == 0) {
#pragma unroll
    for (int i = 0; i < ST; i++) { mbar_init(s2u(&full[i]), 1); mbar_init(s2u(&empty[i]), NC); }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
  __syncthreads();
  const int KC = C / BK;
  if (wgid == 0) {                                     // producer
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 0) {
      int st = 0, ph = 0;
      for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
        int m0 = (t % tiles_m) * BM, n0 = (t / tiles_m) * BN;
        int n = m0 / (H * W), q = m0 - n * H * W, h = q / W, w = q - h * W;
        for (int tap = 0; tap < 9; tap++) for (int c = 0; c < KC; c++) {
          mbar_wait(s2u(&empty[st]), ph ^ 1);
          uint32_t bar = s2u(&full[st]), a = base + st * (SA + SB);
          mbar_tx(bar, SA + SB);
          tma_im2col(a, &mapX, bar, c * BK, w - 1, h - 1, n, (uint16_t)(tap % 3), (uint16_t)(tap / 3));
          tma_2d(a + SA, &mapW, bar, tap * C + c * BK, n0);
          if (++st == ST) { st = 0; ph ^= 1; } } } }
  } else {                                             // consumers
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(NC == 3 ? 160 : 232));
    const int cw = wgid - 1, lane = threadIdx.x & 31, wq = (threadIdx.x >> 5) & 3;
    int st = 0, ph = 0, prev = 0; float d[BN / 2];
    for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
      int m0 = (t % tiles_m) * BM, n0 = (t / tiles_m) * BN;
      for (int kt = 0; kt < 9 * KC; kt++) {
        mbar_wait(s2u(&full[st]), ph);
        uint32_t a = base + st * (SA + SB) + cw * 64 * BK * 2, b = base + st * (SA + SB) + SA;
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int k = 0; k < 4; k++) wg<BN>(d, desc(a + k * 32), desc(b + k * 32), (kt | k) != 0);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");   // previous k-tile is done
        if (kt > 0 && (threadIdx.x & 127) == 0) mbar_arrive(s2u(&empty[prev]));
        prev = st; if (++st == ST) { st = 0; ph ^= 1; } }
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      if ((threadIdx.x & 127) == 0) mbar_arrive(s2u(&empty[prev]));
#pragma unroll
      for (int j = 0; j < BN / 8; j++) { int n = n0 + j * 8 + (lane & 3) * 2; float b0 = bias[n], b1 = bias[n + 1];
#pragma unroll
        for (int hh = 0; hh < 2; hh++) { int m = m0 + cw * 64 + wq * 16 + (lane >> 2) + hh * 8;
          if (m < M) *(__nv_bfloat162*)(Y + (size_t)m * K + n) =
            __floats2bfloat162_rn(fmaxf(d[j * 4 + hh * 2] + b0, 0.f), fmaxf(d[j * 4 + hh * 2 + 1] + b1, 0.f)); } } } }
}
#define INST(NAME, NC, BN, ST)                                                                                      \
  extern "C" __global__ void __launch_bounds__((NC + 1) * 128, 1) NAME(                                             \
      const __grid_constant__ TMap mapX, const __grid_constant__ TMap mapW, const float* __restrict__ bias,         \
      __nv_bfloat16* __restrict__ Y, int H, int W, int C, int K, int M, int tiles_m, int tiles) {                   \
    body<NC, BN, ST>(mapX, mapW, bias, Y, H, W, C, K, M, tiles_m, tiles); }
INST(fprop_2x64, 2, 64, 4)
INST(fprop_2x256, 2, 256, 3)
