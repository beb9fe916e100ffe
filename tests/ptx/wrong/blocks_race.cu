// Every block adds to one number, without an atomic.
// launch: grid=4 block=32 global_races=1
// args: x=f32[128] sum=f32[1]
extern "C" __global__ void blocks_race(const float* x, float* sum) {
    float mine = x[blockIdx.x * 32 + threadIdx.x];
    for (int by = 16; by > 0; by /= 2) mine += __shfl_xor_sync(0xffffffff, mine, by);
    if (threadIdx.x != 0) return;
#ifdef MENDED
    atomicAdd(sum, mine);
#else
    *sum += mine;
#endif
}
