"""``python -m gpunet COMMAND``: what gpunet does from a shell.

Example:
    >>> main(["doctor", "--backend", "abacus"])
    Traceback (most recent call last):
    SystemExit: 2
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gpunet.doctor.command import add_doctor
from gpunet.inspection.command import add_kernels


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments (by default the shell's) name.

    Returns:
        The exit status: 0 if all went well.
    """
    parser = argparse.ArgumentParser(prog="python -m gpunet", description="gpunet's commands.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_doctor(commands)
    add_kernels(commands)
    chosen = parser.parse_args(arguments)
    status: int = chosen.run(chosen)
    return status


if __name__ == "__main__":
    sys.exit(main())
