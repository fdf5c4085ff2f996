"""Proofs for layers and models: gradient check, and op-by-op comparison of two backends."""

from gpunet.testing.gradient import gradient_check
from gpunet.testing.lockstep import Comparison, compare

__all__ = ["Comparison", "compare", "gradient_check"]
