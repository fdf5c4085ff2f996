// The table of a model's weights in flat buffers: six doubles for each, in order of offset.

constexpr int COLUMNS = 6;
enum SegmentColumn { OFFSET = 0, SIZE, DECAY, FACTOR, TRAINABLE, GROUP };

__device__ __forceinline__ int64 end_of(const double* segment)
{
    return (int64)(segment[OFFSET] + segment[SIZE]);
}

// The first segment that ends behind `element`: all threads of a block search together.
__device__ __forceinline__ int first_segment(const double* segments, int count, int64 element)
{
    int low = 0, high = count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (end_of(segments + middle * COLUMNS) <= element) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// How many elements each block has: whole packs, so that all stretches begin aligned.
__device__ __forceinline__ int64 stretch_of(int64 n)
{
    const int64 packs = (n + PACK - 1) / PACK;
    return (packs + gridDim.x - 1) / gridDim.x * PACK;
}

// Calls body.at<WIDTH>(unit) for all elements of [begin, end): packs inside, single ones at the
// edges.
template <int WIDTH, typename Body>
__device__ __forceinline__ void for_span(Body& body, bool packed, int64 begin, int64 end)
{
    int64 inner = begin, inner_end = begin;
    if (packed) {
        inner = min(end, (begin + WIDTH - 1) / WIDTH * WIDTH);
        inner_end = max(inner, end / WIDTH * WIDTH);
    }
    for (int64 i = begin + threadIdx.x; i < inner; i += blockDim.x) {
        body.template at<1>(i);
    }
    for (int64 unit = inner / WIDTH + threadIdx.x; unit < inner_end / WIDTH; unit += blockDim.x) {
        body.template at<WIDTH>(unit);
    }
    for (int64 i = inner_end + threadIdx.x; i < end; i += blockDim.x) {
        body.template at<1>(i);
    }
}
