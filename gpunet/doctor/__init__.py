"""``python -m gpunet doctor``: is all that this machine's GPU computes right, and how fast is it?

What to run first on a machine with a GPU. Each section prints while it runs, what is wrong is
explained at the end in one sentence each, and the last line is the verdict. Without a GPU the same
runs on the emulator, untimed.
"""
