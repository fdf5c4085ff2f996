// A stand-in for cuBLAS: the functions that gpunet calls, with cuBLAS' names and column-major rules.
//
// What cuBLAS answers with a status gets the same status here: handles, sizes, leading dimensions,
// combinations of types (cublasGemmEx in https://docs.nvidia.com/cuda/cublas). What cuBLAS would
// not notice and a device would punish is refused, too: addresses outside of the device's arrays,
// a result that overlaps a factor, a product on another stream than the current one, and one without a
// workspace on its stream, for which cuBLAS would take memory that a capture forbids. Then
// cublasGetStatusString says what it was.
//
// What concerns the device is asked of the emulator, through Hooks. It also decides when a product
// is computed: at once, or whenever a captured graph is launched.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <set>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Status { SUCCESS, NOT_INITIALIZED, ALLOC_FAILED = 3, INVALID_VALUE = 7, EXECUTION_FAILED = 13,
              NOT_SUPPORTED = 15 };
enum Operation { N, T, C };
enum Type { FLOAT32 = 0, FLOAT16 = 2, BFLOAT16 = 14 };
enum Compute { COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77 };
constexpr int64_t SPLIT = 256;
enum MathMode { DEFAULT_MATH = 0, DISALLOW_REDUCED_PRECISION_REDUCTION = 16 };

// A stack of column-major matrices.
struct Matrix {
    void* data;
    int64_t type, rows, columns, leading, stride;
};

}  // namespace

struct Workspace {
    void* data;
    uint64_t bytes;
};

struct Product {
    Matrix a, b, c;  // a and b as they are stored
    int64_t ta, tb, stack, tf32, split;
    float alpha, beta;
    uint64_t stream;
    Workspace workspace;
};

struct Hooks {
    int (*is_device_memory)(const void* data, uint64_t bytes);
    // Computes the product now or later; returns 0, or writes into `why` (256 bytes) and returns 1.
    int (*submit)(const Product* product, char* why);
};

namespace {

struct Handle {
    uint64_t stream = 0;
    Workspace workspace = {nullptr, 0};
    int math_mode = DEFAULT_MATH;
};

Hooks hooks;
std::mutex mutex;
std::set<Handle*> handles;
char detail[256];  // of the last refusal that is the stand-in's own

int refuse(int status, const char* why)
{
    std::snprintf(detail, sizeof detail, "%s", why);
    return status;
}

bool is_handle(Handle* handle)
{
    std::lock_guard<std::mutex> lock(mutex);
    return handles.count(handle) != 0;
}

float as_float(uint32_t bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

uint32_t bits_of(float value)
{
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Rounded to nearest, ties to even, after dropping so many bits; NaN stays NaN.
uint32_t rounded(float value, int dropped)
{
    const uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return bits | 0x00400000u;
    }
    const uint32_t half = (1u << (dropped - 1)) - 1 + (bits >> dropped & 1);
    return (bits + half) & ~((1u << dropped) - 1);
}

float read(const Matrix& matrix, int64_t place)
{
    if (matrix.type == FLOAT16) {
        return (float)((const _Float16*)matrix.data)[place];
    }
    if (matrix.type == BFLOAT16) {
        return as_float((uint32_t)((const uint16_t*)matrix.data)[place] << 16);
    }
    return ((const float*)matrix.data)[place];
}

void write(const Matrix& matrix, int64_t place, float value)
{
    if (matrix.type == FLOAT16) {
        ((_Float16*)matrix.data)[place] = (_Float16)value;
    } else if (matrix.type == BFLOAT16) {
        ((uint16_t*)matrix.data)[place] = (uint16_t)(rounded(value, 16) >> 16);
    } else {
        ((float*)matrix.data)[place] = value;
    }
}

// A number as such a matrix holds it.
float as_stored(const Matrix& matrix, float value)
{
    if (matrix.type == FLOAT16) {
        return (float)(_Float16)value;
    }
    return matrix.type == BFLOAT16 ? as_float(rounded(value, 16) & 0xffff0000u) : value;
}

// op(matrix) number `number` as floats, columns first and without gaps.
void unpack(std::vector<float>& values, const Matrix& matrix, bool transpose, int64_t number,
            bool tf32)
{
    const int64_t rows = transpose ? matrix.columns : matrix.rows;
    const int64_t columns = transpose ? matrix.rows : matrix.columns;
    values.resize(rows * columns);
    for (int64_t j = 0; j < columns; ++j) {
        for (int64_t i = 0; i < rows; ++i) {
            const int64_t place = transpose ? j + i * matrix.leading : i + j * matrix.leading;
            const float value = read(matrix, number * matrix.stride + place);
            values[i + j * rows] = tf32 ? as_float(rounded(value, 13)) : value;
        }
    }
}

uint64_t extent(const Matrix& matrix, int64_t stack)
{
    if (matrix.rows == 0 || matrix.columns == 0 || stack == 0) {
        return 0;
    }
    const int64_t last = matrix.leading * (matrix.columns - 1) + matrix.rows;
    return (last + matrix.stride * (stack - 1)) * (matrix.type == FLOAT32 ? 4 : 2);
}

bool overlap(const Matrix& x, const Matrix& y, int64_t stack)
{
    const char *x_begin = (const char*)x.data, *y_begin = (const char*)y.data;
    return x_begin < y_begin + extent(y, stack) && y_begin < x_begin + extent(x, stack);
}

bool types_fit(int a, int b, int c, int compute)
{
    if (compute == COMPUTE_32F_FAST_TF32) {
        return a == FLOAT32 && b == FLOAT32 && c == FLOAT32;
    }
    const bool known = a == FLOAT32 || a == FLOAT16 || a == BFLOAT16;
    return compute == COMPUTE_32F && known && a == b && (c == a || c == FLOAT32);
}

// The parts that cuBLAS checks itself.
int check(const Product& p, int ta, int tb, int m, int n, int k, int compute, int algorithm)
{
    const auto is_operation = [](int op) { return op == N || op == T || op == C; };
    const auto fits = [](const Matrix& x) { return x.leading >= (x.rows > 1 ? x.rows : 1); };
    if (m < 0 || n < 0 || k < 0 || p.stack < 0 || !is_operation(ta) || !is_operation(tb) ||
        !fits(p.a) || !fits(p.b) || !fits(p.c)) {
        return INVALID_VALUE;
    }
    if (!types_fit(p.a.type, p.b.type, p.c.type, compute) || algorithm != -1) {
        return NOT_SUPPORTED;
    }
    return SUCCESS;
}

// The parts that only a device, or nobody, would notice.
const char* find_fault(const Product& p)
{
    if (p.workspace.data == nullptr) {
        return "no cublasSetWorkspace since the last cublasSetStream: cuBLAS would take memory of "
               "its own, which a capture forbids";
    }
    for (const Matrix* matrix : {&p.a, &p.b, &p.c}) {
        const uint64_t bytes = extent(*matrix, p.stack);
        if (bytes != 0 && !hooks.is_device_memory(matrix->data, bytes)) {
            return "a matrix does not lie inside of a device array";
        }
        if ((uintptr_t)matrix->data % (matrix->type == FLOAT32 ? 4 : 2) != 0) {
            return "a matrix is not aligned to its elements";
        }
    }
    if (overlap(p.c, p.a, p.stack) || overlap(p.c, p.b, p.stack)) {
        return "c overlaps a or b";
    }
    if (p.stack > 1 && p.c.stride < p.c.leading * (p.c.columns - 1) + p.c.rows) {
        return "the matrices of c overlap each other";
    }
    return nullptr;
}

int submit(Handle* handle, Product& p, int ta, int tb, int m, int n, int k, const void* alpha,
           const void* beta, int compute, int algorithm)
{
    if (!is_handle(handle)) {
        return NOT_INITIALIZED;
    }
    p.ta = ta != N;
    p.tb = tb != N;
    p.a.rows = p.ta ? k : m;
    p.a.columns = p.ta ? m : k;
    p.b.rows = p.tb ? n : k;
    p.b.columns = p.tb ? k : n;
    p.c.rows = m;
    p.c.columns = n;
    const int status = check(p, ta, tb, m, n, k, compute, algorithm);
    if (status != SUCCESS) {
        return status;
    }
    if (alpha == nullptr || beta == nullptr) {
        return INVALID_VALUE;
    }
    if (hooks.is_device_memory(alpha, 4) || hooks.is_device_memory(beta, 4)) {
        return refuse(EXECUTION_FAILED, "alpha or beta lies on the device, not on the host");
    }
    p.alpha = *(const float*)alpha;
    p.beta = *(const float*)beta;
    p.tf32 = compute == COMPUTE_32F_FAST_TF32;
    // Parts of long sums, each of another block, then come together in the type of c.
    p.split = handle->math_mode == DEFAULT_MATH ? SPLIT : std::max(k, 1);
    p.stream = handle->stream;
    p.workspace = handle->workspace;
    if (const char* fault = find_fault(p)) {
        return refuse(EXECUTION_FAILED, fault);
    }
    char why[sizeof detail] = "";
    return hooks.submit(&p, why) ? refuse(EXECUTION_FAILED, why) : SUCCESS;
}

}  // namespace

API void gpunet_emulator_cublas_hooks(const Hooks* chosen) { hooks = *chosen; }

API void gpunet_emulator_cublas_compute(const Product* product)
{
    const Product& p = *product;
    std::memset(p.workspace.data, 0xcb, p.workspace.bytes);  // it is cuBLAS' to write to
    const int64_t m = p.c.rows, n = p.c.columns, k = p.ta ? p.a.rows : p.a.columns;
    std::vector<float> a, b, sums(m);
    for (int64_t number = 0; number < p.stack; ++number) {
        unpack(a, p.a, p.ta, number, p.tf32);
        unpack(b, p.b, p.tb, number, p.tf32);
        for (int64_t j = 0; j < n; ++j) {
            std::fill(sums.begin(), sums.end(), 0.0f);
            for (int64_t l = 0; l < k; ++l) {
                for (int64_t i = 0; i < m; ++i) {
                    if (l > 0 && l % p.split == 0) {
                        sums[i] = as_stored(p.c, sums[i]);
                    }
                    sums[i] += a[i + l * m] * b[l + j * k];
                }
            }
            for (int64_t i = 0; i < m; ++i) {
                const int64_t place = number * p.c.stride + i + j * p.c.leading;
                // With beta = 0, c may hold anything before.
                const float before = p.beta == 0.0f ? 0.0f : p.beta * read(p.c, place);
                write(p.c, place, p.alpha * sums[i] + before);
            }
        }
    }
}

API int cublasCreate_v2(Handle** handle)
{
    if (handle == nullptr) {
        return INVALID_VALUE;
    }
    std::lock_guard<std::mutex> lock(mutex);
    *handle = new Handle();
    handles.insert(*handle);
    return SUCCESS;
}

API int cublasDestroy_v2(Handle* handle)
{
    std::lock_guard<std::mutex> lock(mutex);
    if (handles.erase(handle) == 0) {
        return NOT_INITIALIZED;
    }
    delete handle;
    return SUCCESS;
}

API int cublasGetVersion_v2(Handle* handle, int* version)
{
    if (!is_handle(handle)) {
        return NOT_INITIALIZED;
    }
    if (version == nullptr) {
        return INVALID_VALUE;
    }
    *version = 130000;
    return SUCCESS;
}

API int cublasSetMathMode(Handle* handle, int mode)
{
    if (!is_handle(handle)) {
        return NOT_INITIALIZED;
    }
    if (mode != DEFAULT_MATH && mode != DISALLOW_REDUCED_PRECISION_REDUCTION) {
        return INVALID_VALUE;
    }
    handle->math_mode = mode;
    return SUCCESS;
}

API int cublasSetStream_v2(Handle* handle, uint64_t stream)
{
    if (!is_handle(handle)) {
        return NOT_INITIALIZED;
    }
    handle->stream = stream;
    handle->workspace = {nullptr, 0};
    return SUCCESS;
}

API int cublasSetWorkspace_v2(Handle* handle, void* workspace, size_t bytes)
{
    if (!is_handle(handle)) {
        return NOT_INITIALIZED;
    }
    if ((uintptr_t)workspace % 256 != 0) {
        return INVALID_VALUE;
    }
    if (!hooks.is_device_memory(workspace, bytes)) {
        return refuse(EXECUTION_FAILED, "the workspace does not lie inside of a device array");
    }
    handle->workspace = {workspace, bytes};
    return SUCCESS;
}

API int cublasGemmEx(Handle* handle, int ta, int tb, int m, int n, int k, const void* alpha,
                     void* a, int a_type, int lda, void* b, int b_type, int ldb, const void* beta,
                     void* c, int c_type, int ldc, int compute, int algorithm)
{
    Product p = {};
    p.a = {a, a_type, 0, 0, lda, 0};
    p.b = {b, b_type, 0, 0, ldb, 0};
    p.c = {c, c_type, 0, 0, ldc, 0};
    p.stack = 1;
    return submit(handle, p, ta, tb, m, n, k, alpha, beta, compute, algorithm);
}

API int cublasGemmStridedBatchedEx(Handle* handle, int ta, int tb, int m, int n, int k,
                                   const void* alpha, void* a, int a_type, int lda,
                                   long long a_stride, void* b, int b_type, int ldb,
                                   long long b_stride, const void* beta, void* c, int c_type,
                                   int ldc, long long c_stride, int stack, int compute,
                                   int algorithm)
{
    Product p = {};
    p.a = {a, a_type, 0, 0, lda, a_stride};
    p.b = {b, b_type, 0, 0, ldb, b_stride};
    p.c = {c, c_type, 0, 0, ldc, c_stride};
    p.stack = stack;
    return submit(handle, p, ta, tb, m, n, k, alpha, beta, compute, algorithm);
}

API const char* cublasGetStatusName(int status)
{
    switch (status) {
    case SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "unknown";
}

API const char* cublasGetStatusString(int status)
{
    switch (status) {
    case SUCCESS: return "success";
    case NOT_INITIALIZED: return "the library was not initialized";
    case INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
    case EXECUTION_FAILED: return detail;
    case NOT_SUPPORTED: return "the requested functionality is not supported";
    }
    return "unknown";
}
