// philox.cuh   random words as a function of where they are used: Philox4x32-10
//
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Twin of src/random.rs: the same
// words for the same (seed, stream, counter), so a mask is drawn again in backward and never stored.
//
// 10 rounds of 2 wide products and 4 xors: 100 integer instructions for four words.

#pragma once

__device__ __forceinline__ uint4 philox(uint4 c, uint2 key)
{
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned a_low = 0xD2511F53u * c.x, a_high = __umulhi(0xD2511F53u, c.x);
        const unsigned b_low = 0xCD9E8D57u * c.z, b_high = __umulhi(0xCD9E8D57u, c.z);
        c = make_uint4(b_high ^ c.y ^ key.x, b_low, a_high ^ c.w ^ key.y, a_low);
        key.x += 0x9E3779B9u;
        key.y += 0xBB67AE85u;
    }
    return c;
}

// A uniform number in [0, 1) from the top 24 bits, exact.
__device__ __forceinline__ float unit(const unsigned word) { return (word >> 8) * (1.0f / 16777216.0f); }
