"""Models: `Model` for any graph of layers, `Sequential` for a stack of them."""

from gpunet.models.configs import clone_model, model_from_json
from gpunet.models.model import Model
from gpunet.models.sequential import Sequential

__all__ = ["Model", "Sequential", "clone_model", "model_from_json"]
