"""Compiles kernels and the runtime with g++, and keeps the results in a cache.

A compiled file is named after a hash of all that went into it, and appears under that name only
when complete: several processes may build the same module at once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from gpunet.emulator.faults import CompileException
from gpunet.emulator.translate import translate
from gpunet.errors import ArgumentError, BackendUnavailable

_HERE = Path(__file__).parent
_INCLUDE = _HERE / "include"
_RUNTIME = _HERE / "runtime"
_CUBLAS = _HERE / "libraries" / "cublas.cpp"


@dataclass(frozen=True)
class Profile:
    """One way to build modules and the runtime that they run on.

    Attributes:
        name: What ``GPUNET_EMULATOR`` selects it by.
        module_flags: Further compiler flags for kernels.
        warnings: Which compiler warnings kernels get; nobody sees them but as errors.
        link_flags: Further flags for linking kernels.
        runtime_flags: Further compiler flags for the runtime.
        checks: Whether the kernels tell the runtime what they do, and it checks them.
    """

    name: str
    module_flags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ("-w",)
    link_flags: tuple[str, ...] = ()
    runtime_flags: tuple[str, ...] = ()
    checks: bool = False


PROFILES = {
    "fast": Profile("fast"),
    # Every load and store calls the runtime first: see include/emulator/callbacks.h.
    "checked": Profile(
        "checked",
        module_flags=(
            "-DGPUNET_EMULATOR_CHECKED",
            "-g",
            "-fsanitize=thread,bounds",
            *("--param", "tsan-instrument-func-entry-exit=0"),
            *("--param", "tsan-distinguish-volatile=1"),
            # The accesses are to be those of the source: vectors in one piece, none left out.
            *("-fno-tree-sra", "-fno-tree-fre", "-fno-tree-pre"),
            *("-fno-tree-vectorize", "-fno-tree-slp-vectorize"),
            "-fno-tree-loop-distribute-patterns",
            "-fno-optimize-sibling-calls",  # so that a callback returns to where it was called
        ),
        # No call announces local variables; the compiler knows those that are surely unwritten.
        warnings=("-Wuninitialized", "-Werror=uninitialized"),
        # Without the sanitizer's library, and with the callbacks of the module itself.
        link_flags=("-nodefaultlibs", "-Wl,-Bsymbolic", "-lc", "-lgcc"),
        checks=True,
    ),
    # The switch between threads as on processors without a hand-written one.
    "portable": Profile("portable", runtime_flags=("-DGPUNET_EMULATOR_UCONTEXT",)),
}

_COMMON_FLAGS = ("-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-fstack-clash-protection")
_MODULE_FLAGS = (
    *_COMMON_FLAGS,
    "-nostdinc",  # NVRTC has no C or C++ standard headers
    "-nostdinc++",
    "-ffp-contract=fast",  # nvcc fuses a * b + c too
    "-fno-math-errno",
    "-fno-strict-aliasing",  # float4 loads from float arrays
    "-fwrapv",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
    "-fno-gnu-unique",  # two modules may have a template's variable of the same name
    "-fdata-sections",  # see include/emulator/link.ld
)


@dataclass(frozen=True)
class Options:
    """The options of a RawModule, sorted by what they mean here; others have no effect."""

    defines: tuple[str, ...]
    include_paths: tuple[str, ...]
    standard: str

    @classmethod
    def parse(cls, options: Sequence[str]) -> Options:
        """Read options as NVRTC spells them, joined to their value or apart from it."""
        found: dict[str, list[str]] = {"D": [], "I": [], "std": ["c++17"]}
        spellings = {
            "--define-macro": "D",
            "-D": "D",
            "--include-path": "I",
            "-I": "I",
            "--std": "std",
            "-std": "std",
        }
        rest = iter(options)
        for option in rest:
            spelling = next((s for s in spellings if option.startswith(s)), None)
            if spelling is None:
                continue
            value = option[len(spelling) :].removeprefix("=").strip() or next(rest, "")
            found[spellings[spelling]].append(value)
        # The emulator's own headers need C++17, which earlier code compiles as well.
        standard = found["std"][-1]
        standard = "c++17" if standard in ("c++03", "c++11", "c++14") else standard
        paths = tuple(os.path.abspath(path) for path in found["I"])
        return cls(tuple(found["D"]), paths, standard)

    def define_lines(self) -> str:
        """Return the macros as source text, so that the emulator's headers do not see them."""
        lines = []
        for define in self.defines:
            name, equals, value = define.partition("=")
            lines.append(f"#define {name} {value if equals else 1}\n")
        return "".join(lines)


_chosen: ContextVar[str | None] = ContextVar("_chosen", default=None)


def profile() -> Profile:
    """Return the build profile in use: that of `use_profile`, ``$GPUNET_EMULATOR``, or "fast"."""
    name = _chosen.get() or os.environ.get("GPUNET_EMULATOR") or "fast"
    if name not in PROFILES:
        raise ArgumentError(f"GPUNET_EMULATOR is {name!r}, expected one of {[*PROFILES]}.")
    return PROFILES[name]


@contextlib.contextmanager
def use_profile(name: str) -> Iterator[None]:
    """Build and run kernels with this profile inside of the ``with`` block."""
    before = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(before)


def compile_module(
    code: str, options: tuple[str, ...] = (), name_expressions: tuple[str, ...] = ()
) -> Path:
    """Compile a kernel source and return the shared library, from the cache if it is there.

    Raises:
        CompileException: The source has an error; the message is the compiler's.
        BackendUnavailable: There is no C++ compiler.
    """
    parsed = Options.parse(options)
    # What -I brings in may change while the source does not: then the included text counts.
    text = _preprocess(code, parsed, options) if parsed.include_paths else code
    key = _key("module", text, repr(parsed), repr(name_expressions), _tree_text(_INCLUDE))

    def build(directory: Path, output: Path) -> None:
        translated = directory / "kernel.ii"
        translated.write_text(translate(_preprocess(code, parsed, options), name_expressions))
        script, compiled = _INCLUDE / "emulator" / "link.ld", directory / "kernel.o"
        command = [*_module_command(parsed), "-fpreprocessed", "-c", str(translated)]
        _run([*command, "-o", str(compiled)], code, options, directory)
        if profile().checks:
            script = _with_red_zones(script, compiled, directory)
        command = [*compiler(), *_COMMON_FLAGS, "-shared", str(compiled), "-o", str(output)]
        _run([*command, f"-Wl,-T,{script}", "-lm", *profile().link_flags], code, options, directory)

    return _cached(key, build)


_SHARED_SECTION = re.compile(r"^\s*\[ *\d+\] (gpunet_shared\.\S+|\.bss\._ZZ\S+)", re.MULTILINE)


def _with_red_zones(script: Path, compiled: Path, directory: Path) -> Path:
    """Return a link script like this one that parts the module's ``__shared__`` variables."""
    listing = _run(["readelf", "--wide", "--section-headers", str(compiled)], "", (), directory)
    sections = dict.fromkeys(_SHARED_SECTION.findall(listing))
    pieces = "".join(f'    *("{name}")\n    . = . + 256;\n' for name in sections)
    parted = directory / "link.ld"
    parted.write_text(script.read_text().replace("    *(gpunet_shared.*)\n", pieces, 1))
    return parted


def compile_runtime() -> Path:
    """Compile the runtime and return the shared library, from the cache if it is there."""
    key = _key("runtime", _tree_text(_RUNTIME), _tree_text(_INCLUDE / "emulator"))

    def build(directory: Path, output: Path) -> None:
        flags = (*_COMMON_FLAGS, *cpu_flags(), *profile().runtime_flags)
        source = str(_RUNTIME / "runtime.cpp")
        command = [*compiler(), "-std=c++17", *flags, "-shared", source, "-o", str(output)]
        _run(command, "", (), directory)

    return _cached(key, build)


def compile_cublas() -> Path:
    """Compile the stand-in for cuBLAS and return the shared library, from the cache if there."""
    key = _key("cublas", _CUBLAS.read_text())

    def build(directory: Path, output: Path) -> None:
        flags = (*_COMMON_FLAGS, *cpu_flags(), "-std=c++17", "-shared")
        _run([*compiler(), *flags, str(_CUBLAS), "-o", str(output)], "", (), directory)

    return _cached(key, build)


def compiler() -> list[str]:
    """Return the C++ compiler's command: ``$CXX``, or g++."""
    command = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    if shutil.which(command[0]) is None:
        raise BackendUnavailable(
            f"the emulator needs a C++ compiler, and {command[0]!r} was not found: install one "
            "with `apt-get install g++`, or name yours in the environment variable CXX."
        )
    return command


@functools.cache
def cpu_flags() -> tuple[str, ...]:
    """Return the compiler flags for what this processor has; part of every cache key."""
    if platform.machine() != "x86_64":
        return ()  # multiply-add and half precision belong to the base set elsewhere
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ()
    present = set(info.partition("flags")[2].partition("\n")[0].split())
    return tuple(f"-m{feature}" for feature in ("avx2", "fma", "f16c") if feature in present)


def cache_directory() -> Path:
    """Return ``$GPUNET_EMULATOR_CACHE``, or ``~/.cache/gpunet/emulator``, or one in /tmp."""
    chosen = os.environ.get("GPUNET_EMULATOR_CACHE")
    wanted = Path(chosen) if chosen else Path("~/.cache/gpunet/emulator").expanduser()
    # A directory of one's own: in one that anybody may write, anybody could leave a library.
    fallback = Path(tempfile.gettempdir()) / f"gpunet-emulator-{os.getuid()}"
    for directory in (wanted, fallback):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK) and directory.stat().st_uid == os.getuid():
            return directory
    return Path(tempfile.mkdtemp(prefix="gpunet-emulator-"))


def _preprocess(code: str, parsed: Options, options: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory(prefix="gpunet-emulator-") as name:
        directory = Path(name)
        (directory / "kernel.cu").write_text(code)
        (directory / "options.h").write_text(parsed.define_lines())
        command = [
            *_module_command(parsed),
            *("-E", "-include", "emulator/dialect.h", "-include", "./options.h"),
            *("-x", "c++", "kernel.cu"),
        ]
        return _run(command, code, options, directory)


def _module_command(parsed: Options) -> list[str]:
    includes = [f"-I{path}" for path in (str(_INCLUDE), *parsed.include_paths)]
    flags = (*_MODULE_FLAGS, *cpu_flags(), *profile().module_flags, *profile().warnings)
    return [*compiler(), f"-std={parsed.standard}", *flags, *includes]


def _run(command: list[str], code: str, options: tuple[str, ...], directory: Path) -> str:
    """Run the compiler in ``directory``, where the messages find the source to quote."""
    environment = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(  # noqa: S603 - the user's own compiler on the user's own kernel
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise CompileException(result.stderr, code, "kernel.cu", options)
    return result.stdout


def _cached(key: str, build: Callable[[Path, Path], None]) -> Path:
    """Return the file of this key; ``build(directory, output)`` makes it if there is none."""
    cache = cache_directory()
    library = cache / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as name:
            output = Path(name) / "output.so"
            build(Path(name), output)
            os.replace(output, library)
    return library


def _key(*parts: str) -> str:
    settings = (
        repr(profile()),
        repr(_COMMON_FLAGS + _MODULE_FLAGS + cpu_flags()),
        _compiler_version(tuple(compiler())),
        (_HERE / "translate.py").read_text(),
    )
    digest = hashlib.sha256()
    for part in settings + parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:32]


@functools.cache
def _compiler_version(command: tuple[str, ...]) -> str:
    result = subprocess.run(  # noqa: S603
        [*command, "--version"], capture_output=True, text=True, check=False
    )
    return " ".join(command) + result.stdout


@functools.cache
def _tree_text(directory: Path) -> str:
    """Return the text of every file below, with its name."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return "".join(f"{path.relative_to(directory)}\n{path.read_text()}" for path in files)
