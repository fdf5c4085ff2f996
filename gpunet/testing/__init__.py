"""Proofs for layers and models: gradients, two backends op by op, the origin of a NaN."""

from gpunet.testing.gradient import gradient_check
from gpunet.testing.lockstep import Comparison, compare
from gpunet.testing.nans import NonFinite, find_nan

__all__ = ["Comparison", "NonFinite", "compare", "find_nan", "gradient_check"]
