"""A plugin of pytest: ``pytest --cuda-emulator`` runs tests of CUDA kernels without a GPU.

While it is on, ``import cupy`` gives gpunet's emulator. The tests' RawKernels and RawModules then
run on the CPU, and each access of theirs is checked: a race, a barrier that some threads miss, an
index outside of its array or memory that nobody has written fails the test with the kernel, the
line and the threads, even where the result would have been right by luck.

Without the option the plugin does nothing.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Generator
from types import ModuleType
from typing import Any

import pytest

_MODULES = {
    "cupy": "gpunet.emulator.cupy",
    "cupy.cuda": "gpunet.emulator.cuda",
    "cupy.cuda.runtime": "gpunet.emulator.cudart",
    "cupy.random": "gpunet.emulator.random",
    "cupy.testing": "gpunet.emulator.testing",
}
_PROFILE = "GPUNET_EMULATOR"
_HIDE = "__tracebackhide__"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--cuda-emulator`` and ``--cuda-seed``."""
    group = parser.getgroup("gpunet", "CUDA kernels without a GPU")
    group.addoption(
        "--cuda-emulator",
        action="store_true",
        help="run CuPy's RawKernels on the CPU and check every access (needs g++); "
        "GPUNET_EMULATOR=fast checks less and is faster",
    )
    group.addoption(
        "--cuda-seed",
        type=int,
        default=0,
        metavar="N",
        help="with --cuda-emulator: run blocks and threads in an order drawn with this seed",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Put the emulator in CuPy's place before any conftest.py imports it."""
    options = early_config.known_args_namespace
    if options.cuda_emulator:
        early_config.pluginmanager.register(_Session(), "gpunet-cuda-emulator")
    elif options.cuda_seed:
        raise pytest.UsageError("--cuda-seed orders the threads of --cuda-emulator: add it.")


class _Session:
    """The emulator in the place of CuPy, from the start of pytest to its end."""

    def __init__(self) -> None:
        import gpunet.emulator.cupy
        from gpunet.emulator import KernelFault, build
        from gpunet.errors import BackendUnavailable

        loaded = sys.modules.get("cupy")
        if loaded not in (None, gpunet.emulator.cupy):
            raise pytest.UsageError(
                "--cuda-emulator comes too late: CuPy itself has been imported already, by another "
                "plugin or by -p."
            )
        try:
            build.compiler()
        except BackendUnavailable as error:
            raise pytest.UsageError(f"--cuda-emulator: {error}") from error
        self._modules = {name: sys.modules.get(name) for name in (*_MODULES, "cupyx")}
        for name, ours in _MODULES.items():
            sys.modules[name] = sys.modules[ours]
        # cupyx is compiled against the real CuPy: None makes its import an ImportError.
        sys.modules["cupyx"] = None  # type: ignore[assignment]
        self._profile = os.environ.get(_PROFILE)
        os.environ.setdefault(_PROFILE, "checked")
        for module in _emulator_modules():  # pytest then leaves their frames out of tracebacks
            setattr(module, _HIDE, lambda excinfo: isinstance(excinfo.value, KernelFault))

    def pytest_report_header(self, config: pytest.Config) -> str:
        """Say what takes CuPy's place."""
        order = config.getoption("--cuda-seed")
        drawn = f", threads in the order of seed {order}" if order else ""
        return f"cuda-emulator: kernels run on the CPU, {os.environ[_PROFILE]}{drawn}"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Run each test with the chosen order of threads."""
        from gpunet.emulator import checked

        seed = item.config.getoption("--cuda-seed")
        if seed == 0 or os.environ[_PROFILE] != "checked":
            return (yield)
        with checked(seed):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, pytest.TestReport]:
        """Show the lines of the kernel that a fault names."""
        from gpunet.emulator import KernelFault

        source = ""
        if call.excinfo is not None and isinstance(call.excinfo.value, KernelFault):
            source = _source_of(call.excinfo)
        report: pytest.TestReport = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, KernelFault):
            _break_lines(report.longrepr)
        if source:
            report.sections.append(("CUDA source", source))
        return report

    def pytest_unconfigure(self) -> None:
        """Give CuPy its place back."""
        for name, module in self._modules.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
        if self._profile is None:
            os.environ.pop(_PROFILE, None)
        for module in _emulator_modules():
            vars(module).pop(_HIDE, None)


def _emulator_modules() -> list[ModuleType]:
    modules = sys.modules.items()
    return [module for name, module in modules if name.startswith("gpunet.emulator.")]


def _break_lines(shown: Any) -> None:
    """Break the message of a fault, which names two threads with their lines, for reading."""
    for entry in getattr(getattr(shown, "reprtraceback", None), "reprentries", ()):
        entry.lines = [
            part
            for line in getattr(entry, "lines", ())
            for part in (
                textwrap.wrap(line, 90, subsequent_indent="E         ")
                if line[:2] == "E "
                else [line]
            )
        ]


def _source_of(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the lines of the kernel that a fault names, with those around them."""
    from gpunet.emulator.cupy import RawKernel

    kernels = [
        kernel
        for entry in excinfo.traceback
        if isinstance(kernel := entry.frame.f_locals.get("self"), RawKernel)
    ]
    # The files of #line directives are the user's own, and not in the source.
    named = {int(number) for number in re.findall(r"\bkernel\.cu:(\d+)", str(excinfo.value))}
    if not kernels or not named:
        return ""
    lines = kernels[-1].code.splitlines()
    around = {n for number in named for n in (number - 1, number, number + 1)}
    return "\n".join(
        f"{'>' if number in named else ' '} {number:4} {lines[number - 1]}"
        for number in sorted(around)
        if 0 < number <= len(lines)
    )
