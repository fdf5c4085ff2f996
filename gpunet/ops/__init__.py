"""Each op of the contract as a plain function, for people who have arrays and no model.

The functions make their outputs and run where their arrays are: NumPy arrays and lists of numbers
(which become float32) on the CPU, CuPy arrays on the GPU, and arrays of other libraries through
DLPack, without a copy: PyTorch's tensors, for example. Results are NumPy or CuPy arrays.
Floating-point arrays are float32 or float64, all of one call alike; class numbers may be of any
integer type.

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
)
from gpunet.ops.gemm import gemm, gemm_act_backward, gemm_bias_act, gemm_column_sum
from gpunet.ops.losses import (
    accuracy,
    binary_cross_entropy,
    cross_entropy,
    mean_squared_error,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
from gpunet.ops.memory import add, copy, fill, gather, scale_shift
from gpunet.ops.optimizers import adam, sgd
from gpunet.ops.random import dropout

__all__ = [
    "accuracy",
    "adam",
    "add",
    "bias_act",
    "bias_act_backward",
    "binary_cross_entropy",
    "copy",
    "cross_entropy",
    "dropout",
    "fill",
    "gather",
    "gemm",
    "gemm_act_backward",
    "gemm_bias_act",
    "gemm_column_sum",
    "glu",
    "glu_backward",
    "log_softmax",
    "log_softmax_backward",
    "mean_squared_error",
    "prelu",
    "prelu_backward",
    "scale_shift",
    "sgd",
    "sigmoid_cross_entropy",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
]
