// Places and sizes along depth, height and width: what convolutions and pooling share.

struct Triple {
    int depth, height, width;

    __device__ __forceinline__ int size() const { return depth * height * width; }
    // Element `place` of a box of these sizes, width running fastest.
    __device__ __forceinline__ Triple at(unsigned place) const
    {
        const unsigned row = place / (unsigned)width, plane = row / (unsigned)height;
        return {(int)plane, (int)(row - plane * height), (int)(place - row * width)};
    }
    __device__ __forceinline__ bool holds(const Triple& i) const
    {
        return (unsigned)i.depth < (unsigned)depth && (unsigned)i.height < (unsigned)height
               && (unsigned)i.width < (unsigned)width;
    }
    __device__ __forceinline__ int place(const Triple& i) const
    {
        return (i.depth * height + i.height) * width + i.width;
    }
};

__device__ __forceinline__ Triple operator+(const Triple& a, const Triple& b)
{
    return {a.depth + b.depth, a.height + b.height, a.width + b.width};
}
__device__ __forceinline__ Triple operator-(const Triple& a, const Triple& b)
{
    return {a.depth - b.depth, a.height - b.height, a.width - b.width};
}
__device__ __forceinline__ Triple operator*(const Triple& a, const Triple& b)
{
    return {a.depth * b.depth, a.height * b.height, a.width * b.width};
}
