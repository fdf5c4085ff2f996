"""Each op of the contract as a plain function, for people who have arrays and no model.

The functions make their outputs and run where their arrays are: NumPy arrays and lists of numbers
(which become float32) on the CPU, CuPy arrays on the GPU, and arrays of other libraries through
DLPack, without a copy: PyTorch's tensors, for example. Results are NumPy or CuPy arrays.
Floating-point arrays are float32, float64, float16 or (with ml_dtypes) bfloat16, all of one call
alike; beside arrays of 16 bits labels, sample weights and what an optimizer updates are float32.
Class numbers may be of any integer type.

>>> from gpunet import ops
>>> ops.softmax([[0.0, 0.0], [9.0, -9.0]]).round(3)
array([[0.5, 0.5],
       [1. , 0. ]], dtype=float32)
"""

from gpunet.ops.activations import (
    bias_act,
    bias_act_backward,
    glu,
    glu_backward,
    log_softmax,
    log_softmax_backward,
    prelu,
    prelu_backward,
    softmax,
    softmax_backward,
    sparsemax,
    sparsemax_backward,
)
from gpunet.ops.attention import (
    attention_scores,
    attention_values,
    attention_values_backward,
    attention_weights,
)
from gpunet.ops.caching import cached_attention, insert_rows
from gpunet.ops.channel_norms import (
    channel_moments,
    channel_norm,
    channel_norm_backward,
    channel_norm_sums,
    group_moments,
    group_sums,
)
from gpunet.ops.constraints import norm_constraint
from gpunet.ops.convolution import (
    convolution,
    convolution_kernel_gradient,
    transposed_convolution,
)
from gpunet.ops.embedding import embedding, embedding_backward
from gpunet.ops.fused_attention import fused_attention, fused_attention_backward
from gpunet.ops.gemm import batched_gemm, gemm, gemm_act_backward, gemm_bias_act, gemm_column_sum
from gpunet.ops.images import (
    adjust_image,
    affine_image,
    affine_image_backward,
    clip_backward,
    random_affine,
    random_factors,
)
from gpunet.ops.losses import (
    accuracy,
    binary_cross_entropy,
    binary_focal_cross_entropy,
    categorical_hinge,
    cosine_similarity,
    cross_entropy,
    ctc,
    elementwise_loss,
    focal_cross_entropy,
    normalized_weights,
    sigmoid_cross_entropy,
    sigmoid_focal_cross_entropy,
    softmax_cross_entropy,
    softmax_focal_cross_entropy,
    tversky,
)
from gpunet.ops.masks import either_mask, mask_shares, masked_rows, row_mask
from gpunet.ops.memory import add, copy, fill, gather, next_batch, scale_shift
from gpunet.ops.merging import maximum, maximum_backward, minimum, multiply, subtract
from gpunet.ops.metrics import (
    argmax,
    confusion_matrix,
    matches,
    moments,
    threshold_counts,
    top_k_accuracy,
    top_k_filter,
    weighted_totals,
)
from gpunet.ops.optimizers import (
    adadelta,
    adagrad,
    adam,
    adamax,
    lion,
    moving_average,
    nadam,
    rmsprop,
    sgd,
    squared_norms,
)
from gpunet.ops.pooling import (
    average_pool,
    average_pool_backward,
    max_pool,
    max_pool_backward,
)
from gpunet.ops.positions import position_rows, position_rows_backward, rotary, waves
from gpunet.ops.random import dropout, gaussian_dropout, gaussian_noise, spatial_dropout
from gpunet.ops.recurrent import (
    gru,
    gru_backward,
    lstm,
    lstm_backward,
    masked_steps,
    previous_steps,
    reverse_steps,
)
from gpunet.ops.regularizers import activity_penalty, orthogonality_penalty, weight_penalty
from gpunet.ops.row_norms import layer_norm, layer_norm_backward, spectral_scale
from gpunet.ops.shapes import (
    concatenate,
    crop,
    pad,
    repeat,
    repeat_backward,
    swap_axes,
    upsample_bilinear,
    upsample_bilinear_backward,
)

__all__ = [
    "accuracy",
    "activity_penalty",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "add",
    "adjust_image",
    "affine_image",
    "affine_image_backward",
    "argmax",
    "attention_scores",
    "attention_values",
    "attention_values_backward",
    "attention_weights",
    "average_pool",
    "average_pool_backward",
    "batched_gemm",
    "bias_act",
    "bias_act_backward",
    "binary_cross_entropy",
    "binary_focal_cross_entropy",
    "cached_attention",
    "categorical_hinge",
    "channel_moments",
    "channel_norm",
    "channel_norm_backward",
    "channel_norm_sums",
    "clip_backward",
    "concatenate",
    "confusion_matrix",
    "convolution",
    "convolution_kernel_gradient",
    "copy",
    "cosine_similarity",
    "crop",
    "cross_entropy",
    "ctc",
    "dropout",
    "either_mask",
    "elementwise_loss",
    "embedding",
    "embedding_backward",
    "fill",
    "focal_cross_entropy",
    "fused_attention",
    "fused_attention_backward",
    "gather",
    "gaussian_dropout",
    "gaussian_noise",
    "gemm",
    "gemm_act_backward",
    "gemm_bias_act",
    "gemm_column_sum",
    "glu",
    "glu_backward",
    "group_moments",
    "group_sums",
    "gru",
    "gru_backward",
    "insert_rows",
    "layer_norm",
    "layer_norm_backward",
    "lion",
    "log_softmax",
    "log_softmax_backward",
    "lstm",
    "lstm_backward",
    "mask_shares",
    "masked_rows",
    "masked_steps",
    "matches",
    "max_pool",
    "max_pool_backward",
    "maximum",
    "maximum_backward",
    "minimum",
    "moments",
    "moving_average",
    "multiply",
    "nadam",
    "next_batch",
    "norm_constraint",
    "normalized_weights",
    "orthogonality_penalty",
    "pad",
    "position_rows",
    "position_rows_backward",
    "prelu",
    "prelu_backward",
    "previous_steps",
    "random_affine",
    "random_factors",
    "repeat",
    "repeat_backward",
    "reverse_steps",
    "rmsprop",
    "rotary",
    "row_mask",
    "scale_shift",
    "sgd",
    "sigmoid_cross_entropy",
    "sigmoid_focal_cross_entropy",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_focal_cross_entropy",
    "sparsemax",
    "sparsemax_backward",
    "spatial_dropout",
    "spectral_scale",
    "squared_norms",
    "subtract",
    "swap_axes",
    "threshold_counts",
    "top_k_accuracy",
    "top_k_filter",
    "transposed_convolution",
    "tversky",
    "upsample_bilinear",
    "upsample_bilinear_backward",
    "waves",
    "weight_penalty",
    "weighted_totals",
]
