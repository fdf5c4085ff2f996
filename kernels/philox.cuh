// NumPy's generator of random numbers.

struct Words4 {
    uint64 word[4];
};

// Philox4x64-10 (Salmon et al., 2011), bit for bit NumPy's np.random.Philox.
__device__ __forceinline__ Words4 philox4x64(uint64 c0, uint64 c1, uint64 c2, uint64 c3, uint64 k0,
                                             uint64 k1)
{
    constexpr uint64 MULTIPLY_0 = 0xD2E7470EE14C6C93ull, MULTIPLY_1 = 0xCA5A826395121157ull;
    constexpr uint64 WEYL_0 = 0x9E3779B97F4A7C15ull, WEYL_1 = 0xBB67AE8584CAA73Bull;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint64 high0 = __umul64hi(MULTIPLY_0, c0), low0 = MULTIPLY_0 * c0;
        const uint64 high1 = __umul64hi(MULTIPLY_1, c2), low1 = MULTIPLY_1 * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    return Words4{{c0, c1, c2, c3}};
}

// NumPy's float32 in [0, 1) out of 32 random bits.
__device__ __forceinline__ float uniform(unsigned bits)
{
    constexpr float STEP = 1.0f / (1 << 24);
    return (bits >> 8) * STEP;
}
