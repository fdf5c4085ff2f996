// The activations of a layer and their gradients, as functions of a number.

// The numbers by which gpunet/backend/cuda names them: the index in spec.ACTIVATIONS, which also
// says what each gradient is written in: the output y, or the number x that f was applied to.
enum ActivationId {
    LINEAR, RELU, SIGMOID, TANH, LEAKY_RELU, BOUNDED_RELU, RELU6, ELU, SELU, CELU, SOFTPLUS,
    SOFTSIGN, EXPONENTIAL, LOG_SIGMOID, HARD_SIGMOID, HARD_TANH, SPARSE_SIGMOID, SPARSE_PLUS,
    SQUAREPLUS, SOFT_SHRINK, HARD_SHRINK, THRESHOLD, TANH_SHRINK, SILU, HARD_SILU, MISH, GELU,
    GELU_TANH
};

// An activation with its parameters, the same for all threads.
struct Activation {
    int id;
    float p, q, r;
};

constexpr float SELU_SCALE = 1.05070098735548f, SELU_ALPHA = 1.67326324235438f;
constexpr float SQRT_HALF = 0.707106781186548f, INVERSE_SQRT_2PI = 0.398942280401433f;
constexpr float GELU_LINEAR = 0.797884560802865f, GELU_CUBIC = 0.0356774081363001f;  // k, .044715 k
constexpr float FAR_AWAY = 1e4f;  // exp(-FAR_AWAY) is 0; keeps inf out of inf * 0

// The straight line from 0 at x = -end to 1 at x = end, with all digits near both.
__device__ __forceinline__ float ramp(float x, float end)
{
    return clip(x + end, 0.0f, 2.0f * end) * (0.5f / end);
}
__device__ __forceinline__ float inside(float y, float low, float high, float slope)
{
    return low < y && y < high ? slope : 0.0f;
}

__device__ __forceinline__ float log1p_exp_of_minus_abs(float x)
{
    return log1pf(expf(-fabsf(x)));
}

// tanh(log(1 + e)) = n / (n + 2), where e = exp(x), n = e (e + 2).
__device__ __forceinline__ float mish(float x)
{
    const float e = expf(clip(x, -FAR_AWAY, 20.0f)), n = e * (e + 2.0f);
    return at_least(x, -FAR_AWAY) * (n / (n + 2.0f));
}
__device__ __forceinline__ float mish_gradient(float x)
{
    x = clip(x, -FAR_AWAY, 20.0f);
    const float e = expf(x), scale = e * (e + 2.0f) + 2.0f;
    return e * (4.0f * (x + 1.0f) + e * (4.0f * x + 6.0f + e * (4.0f + e))) / (scale * scale);
}

// Phi(-a) for the integral Phi of the normal distribution, a >= 0.
__device__ __forceinline__ float normal_tail(float a) { return 0.5f * erfcf(a * SQRT_HALF); }

__device__ __forceinline__ float gelu(float x)
{
    const float a = at_most(fabsf(x), 40.0f);  // x Phi(x) = max(x, 0) - |x| Phi(-|x|)
    return at_least(x, 0.0f) - a * normal_tail(a);
}
__device__ __forceinline__ float gelu_gradient(float x)
{
    const float a = at_most(fabsf(x), 40.0f);
    const float tail = normal_tail(a) - a * INVERSE_SQRT_2PI * expf(-0.5f * a * a);
    return x < 0.0f ? tail : 1.0f - tail;
}

// (1 + tanh(u)) / 2 = sigmoid(2 u), u = k (x + 0.044715 x^3).
__device__ __forceinline__ float gelu_tanh_gate(float x)
{
    return sigmoid(2.0f * x * (GELU_LINEAR + GELU_CUBIC * x * x));
}
__device__ __forceinline__ float gelu_tanh_gradient(float x)
{
    x = clip(x, -40.0f, 40.0f);
    const float s = gelu_tanh_gate(x), slope_of_2u = 2.0f * GELU_LINEAR + 6.0f * GELU_CUBIC * x * x;
    return s * (1.0f + x * slope_of_2u * (1.0f - s));
}

__device__ __forceinline__ float silu_gradient(float x)
{
    x = clip(x, -FAR_AWAY, FAR_AWAY);
    const float s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

__device__ __forceinline__ float squareplus(float x, float b)
{
    const float twice = fabsf(x) + sqrtf(x * x + b);  // where x^2 overflows, b / twice is 0
    return at_least(x, 0.0f) + 0.5f * b / twice;
}
__device__ __forceinline__ float squareplus_gradient(float y, float b)
{
    const float ratio = 0.5f * sqrtf(b) / y;
    return 1.0f / (1.0f + ratio * ratio);
}

__device__ __forceinline__ float bounded_relu(float x, float slope, float largest, float threshold)
{
    const float below = slope == 0.0f ? 0.0f : slope * (x - threshold);  // not 0 * inf
    return x > threshold ? at_most(x, largest) : x <= threshold ? below : x;
}
__device__ __forceinline__ float sparse_plus(float x)
{
    const float root = 0.5f * (clip(x, -1.0f, 1.0f) + 1.0f);
    return x > 1.0f ? x : root * root;
}

// f(x). All threads take the same branch; a NaN stays a NaN; +-inf goes to f's limit.
__device__ __forceinline__ float activate(float x, const Activation& f)
{
    switch (f.id) {
    case RELU: return at_least(x, 0.0f);
    case SIGMOID: return sigmoid(x);
    case TANH: return tanhf(x);
    case LEAKY_RELU: return x > 0.0f ? x : f.p * x;
    case BOUNDED_RELU: return bounded_relu(x, f.p, f.q, f.r);
    case RELU6: return clip(x, 0.0f, 6.0f);
    case ELU: return x > 0.0f ? x : f.p * expm1f(x);
    case SELU: return SELU_SCALE * (x > 0.0f ? x : SELU_ALPHA * expm1f(x));
    case CELU: return x > 0.0f ? x : f.p * expm1f(x / f.p);
    case SOFTPLUS: return fmaxf(x, 0.0f) + log1p_exp_of_minus_abs(x);
    case SOFTSIGN: return clip(x, -1e30f, 1e30f) / (1.0f + at_most(fabsf(x), 1e30f));
    case EXPONENTIAL: return expf(x);
    case LOG_SIGMOID: return fminf(x, 0.0f) - log1p_exp_of_minus_abs(x);
    case HARD_SIGMOID: return ramp(x, 3.0f);
    case HARD_TANH: return clip(x, -1.0f, 1.0f);
    case SPARSE_SIGMOID: return ramp(x, 1.0f);
    case SPARSE_PLUS: return sparse_plus(x);
    case SQUAREPLUS: return squareplus(x, f.p);
    case SOFT_SHRINK: return x - clip(x, -f.p, f.p);
    case HARD_SHRINK: return fabsf(x) <= f.p ? 0.0f : x;
    case THRESHOLD: return x <= f.p ? f.q : x;
    case TANH_SHRINK: return x - tanhf(x);
    case SILU: return at_least(x, -FAR_AWAY) * sigmoid(x);
    case HARD_SILU: return at_least(x, -3.0f) * ramp(x, 3.0f);
    case MISH: return mish(x);
    case GELU: return gelu(x);
    case GELU_TANH: return at_least(x, -40.0f) * gelu_tanh_gate(clip(x, -40.0f, 40.0f));
    default: return x;
    }
}

// f'(x), written in terms of y = f(x) or of x.
__device__ __forceinline__ float activation_gradient(float saved, const Activation& f)
{
    const float x = saved, y = saved;
    switch (f.id) {
    case RELU: return y > 0.0f ? 1.0f : 0.0f;
    case SIGMOID: return y * (1.0f - y);
    case TANH: return 1.0f - y * y;
    case LEAKY_RELU: return y > 0.0f ? 1.0f : f.p;
    case BOUNDED_RELU: return y >= f.q ? 0.0f : y > 0.0f ? 1.0f : f.p;
    case RELU6: return inside(y, 0.0f, 6.0f, 1.0f);
    case ELU: return y > 0.0f ? 1.0f : y + f.p;
    case SELU: return y > 0.0f ? SELU_SCALE : y + SELU_SCALE * SELU_ALPHA;
    case CELU: return y > 0.0f ? 1.0f : y / f.p + 1.0f;
    case SOFTPLUS: return -expm1f(-y);
    case SOFTSIGN: return (1.0f - fabsf(y)) * (1.0f - fabsf(y));
    case EXPONENTIAL: return y;
    case LOG_SIGMOID: return -expm1f(y);
    case HARD_SIGMOID: return inside(y, 0.0f, 1.0f, 1.0f / 6.0f);
    case HARD_TANH: return inside(y, -1.0f, 1.0f, 1.0f);
    case SPARSE_SIGMOID: return inside(y, 0.0f, 1.0f, 0.5f);
    case SPARSE_PLUS: return y >= 1.0f ? 1.0f : sqrtf(y);
    case SQUAREPLUS: return squareplus_gradient(y, f.p);
    case SOFT_SHRINK:
    case HARD_SHRINK: return y != 0.0f ? 1.0f : 0.0f;
    case THRESHOLD: return x > f.p ? 1.0f : 0.0f;
    case TANH_SHRINK: return tanhf(x) * tanhf(x);
    case SILU: return silu_gradient(x);
    case HARD_SILU: return x < -3.0f ? 0.0f : x > 3.0f ? 1.0f : x / 3.0f + 0.5f;
    case MISH: return mish_gradient(x);
    case GELU: return gelu_gradient(x);
    case GELU_TANH: return gelu_tanh_gradient(x);
    default: return 1.0f;
    }
}
