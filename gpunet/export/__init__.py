"""A model's training step as a stand-alone script."""

from gpunet.export.step import export_step

__all__ = ["export_step"]
