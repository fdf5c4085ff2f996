"""Layers: Keras' names, defaults and behaviour; forward and backward written next to each other."""

from gpunet.engine.graph import Input
from gpunet.layers.activations import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from gpunet.layers.base import Context, Layer
from gpunet.layers.core import Dense
from gpunet.layers.merge import Add
from gpunet.layers.normalization import BatchNormalization, GroupNormalization
from gpunet.layers.preprocessing import Rescaling
from gpunet.layers.regularization import ActivityRegularization, Dropout
from gpunet.layers.reshaping import Flatten, Reshape
from gpunet.layers.row_normalization import (
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from gpunet.layers.serialization import deserialize, serialize
from gpunet.layers.spectral import SpectralNormalization

__all__ = [
    "ELU",
    "Activation",
    "ActivityRegularization",
    "Add",
    "BatchNormalization",
    "Context",
    "Dense",
    "Dropout",
    "Flatten",
    "GroupNormalization",
    "Input",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "PReLU",
    "RMSNormalization",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "SpectralNormalization",
    "UnitNormalization",
    "deserialize",
    "serialize",
]
