"""Layers: Keras' names, defaults and behaviour; forward and backward written next to each other."""

from gpunet.engine.graph import Input
from gpunet.layers.activations import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from gpunet.layers.base import Context, Layer
from gpunet.layers.core import Dense
from gpunet.layers.merge import Add
from gpunet.layers.preprocessing import Rescaling
from gpunet.layers.regularization import ActivityRegularization, Dropout
from gpunet.layers.reshaping import Flatten, Reshape
from gpunet.layers.serialization import deserialize, serialize

__all__ = [
    "ELU",
    "Activation",
    "ActivityRegularization",
    "Add",
    "Context",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "Layer",
    "LeakyReLU",
    "PReLU",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "deserialize",
    "serialize",
]
