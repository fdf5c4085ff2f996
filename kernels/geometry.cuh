// The sizes and attributes of a convolution, as all of its kernels take them.

struct Geometry {
    int batch;
    Triple fine;
    int channels;
    Triple coarse;
    int filters;
    Triple window, strides, dilation, padding;
    int groups;
};

#define GPUNET_GEOMETRY_PARAMETERS                                                                \
    int batch, int depth, int height, int width, int channels, int out_depth, int out_height,     \
        int out_width, int filters, int window_depth, int window_height, int window_width,        \
        int stride_depth, int stride_height, int stride_width, int dilation_depth,                \
        int dilation_height, int dilation_width, int padding_depth, int padding_height,           \
        int padding_width, int groups
#define GPUNET_GEOMETRY                                                                           \
    Geometry                                                                                      \
    {                                                                                             \
        batch, {depth, height, width}, channels, {out_depth, out_height, out_width}, filters,     \
            {window_depth, window_height, window_width},                                          \
            {stride_depth, stride_height, stride_width},                                          \
            {dilation_depth, dilation_height, dilation_width},                                    \
            {padding_depth, padding_height, padding_width}, groups                                \
    }
