"""Saving and loading; weights from and for PyTorch and ONNX."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunet.saving.conversion import from_onnx, from_torch, to_onnx, to_torch

__all__ = ["from_onnx", "from_torch", "to_onnx", "to_torch"]


def __getattr__(name: str) -> Any:
    """Import what no training needs when it is used, not with `import gpunet`."""
    if name in __all__:
        from gpunet.saving import conversion

        return getattr(conversion, name)
    raise AttributeError(f"module 'gpunet.saving' has no attribute {name!r}")
