// Epilogues of products: what happens to a finished pack of c at (row, column) before it is stored.

struct Accumulate {
    Matrix<const real> c;
    bool accumulate;
    template <int WIDTH>
    __device__ __forceinline__ void finish(Pack<float, WIDTH>& values, int row, int column) const
    {
        if (accumulate) {
            const RealPack<WIDTH> before = c.template load<WIDTH>(row, column);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                values.v[j] += (float)before.v[j];
            }
        }
    }
};

struct BiasActivation {
    Matrix<const real> bias;
    Activation activation;
    template <int WIDTH>
    __device__ __forceinline__ void finish(Pack<float, WIDTH>& values, int, int column) const
    {
        RealPack<WIDTH> shift = {};
        if (bias.data != nullptr) {
            shift = bias.template load<WIDTH>(0, column);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            values.v[j] = activate(values.v[j] + (float)shift.v[j], activation);
        }
    }
};

struct ActivationBackward {
    Matrix<const real> saved;
    Activation activation;
    template <int WIDTH>
    __device__ __forceinline__ void finish(Pack<float, WIDTH>& values, int row, int column) const
    {
        const RealPack<WIDTH> kept = saved.template load<WIDTH>(row, column);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            values.v[j] *= activation_gradient((float)kept.v[j], activation);
        }
    }
};
