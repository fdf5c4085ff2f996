"""Data sets under Keras' names; nothing is ever downloaded.

``digits`` comes with gpunet; ``mnist`` and ``fashion_mnist`` read files that are on this machine.
"""

from gpunet.datasets import digits, fashion_mnist, mnist

__all__ = ["digits", "fashion_mnist", "mnist"]
