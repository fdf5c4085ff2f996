"""What is shipped, and that every way of installing gpunet finds its files.

The fresh environments borrow NumPy and the build tools from the environment that runs the tests,
behind their own packages, so that nothing here needs a network.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = (
    "gpunet/py.typed",
    "gpunet/kernels/common.cuh",
    "gpunet/kernels/*.cu",
    "gpunet/emulator/*.cpp",
    "gpunet/emulator/include/*.h",
    "gpunet/datasets/digits.npz",
    "gpunet/datasets/CREDITS",
)
# Runs in the environment under test and says what it found there.
PROBE = """
import json
from pathlib import Path
import gpunet
from gpunet.backend.cuda import kernels
from gpunet.datasets import digits
folder = Path(kernels.find_kernels())
print(json.dumps({
    "package": str(Path(gpunet.__file__).parent),
    "kernels": str(folder),
    "files": sorted(path.name for path in folder.iterdir()),
    "digits": len(digits.load_data()[0][0]),
    "emulator": (Path(gpunet.__file__).parent / "emulator" / "include").is_dir(),
}))
"""
pytestmark = pytest.mark.slow


def run(*command: str | Path, **environment: str) -> str:
    """Run a command outside of the checkout; its output is the failure's message."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=os.sep,
        env={**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def packages(python: Path) -> Path:
    """Where this interpreter's packages are installed."""
    return Path(run(python, "-c", "import sysconfig as s; print(s.get_path('purelib'))").strip())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist."""
    pytest.importorskip("build", reason="pip install -e '.[dev]'")
    pytest.importorskip("hatchling", reason="pip install hatchling")
    out = tmp_path_factory.mktemp("dist")
    # From the sdist, as pip would: a file that the sdist lacks is missing in the wheel, too.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    return {"wheel": next(out.glob("*.whl")), "sdist": next(out.glob("*.tar.gz"))}


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a fresh environment without pip."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    interpreter = tmp_path / "venv" / "bin" / "python"
    # Paths in .pth files come after the environment's own packages.
    borrowed = {sysconfig.get_path("purelib"), str(Path(np.__file__).parents[1])}
    (packages(interpreter) / "zz_borrowed.pth").write_text("\n".join(borrowed))
    return interpreter


def install(python: Path, *what: str | Path, isolated: bool = False) -> None:
    """Install into the fresh environment, with the pip that it borrows."""
    options = [] if isolated else ["--no-index", "--no-build-isolation"]
    pip = [python, "-m", "pip", "install", "--no-deps", "--force-reinstall", *options]
    run(*pip, *what, PIP_DISABLE_PIP_VERSION_CHECK="1")


def check(python: Path, package: Path, kernels: Path, **environment: str) -> None:
    found = json.loads(run(python, "-c", PROBE, **environment))
    assert Path(found["package"]) == package
    assert Path(found["kernels"]) == kernels
    assert set(found["files"]) >= {path.name for path in (ROOT / "kernels").glob("*.cu*")}
    assert found["digits"] == 1437
    assert found["emulator"]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_installed(kind: str, built: dict[str, Path], python: Path) -> None:
    install(python, built[kind])
    package = packages(python) / "gpunet"
    check(python, package, package / "kernels")


def test_installed_editable(python: Path) -> None:
    pytest.importorskip("hatchling", reason="pip install hatchling")
    isolated = importlib.util.find_spec("editables") is None  # then pip fetches it
    install(python, "--editable", ROOT, isolated=isolated)
    check(python, ROOT / "gpunet", ROOT / "kernels")


def test_bare_checkout(python: Path) -> None:
    check(python, ROOT / "gpunet", ROOT / "kernels", PYTHONPATH=str(ROOT))


def test_the_wheel_holds_what_is_read_at_run_time(built: dict[str, Path]) -> None:
    names = zipfile.ZipFile(built["wheel"]).namelist()
    for pattern in SHIPPED:
        assert fnmatch.filter(names, pattern), f"{pattern} is not in the wheel"
    assert fnmatch.filter(names, "gpunet-*.dist-info/licenses/LICENSE")
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "gpunet").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    }
    kernels = {f"gpunet/kernels/{path.name}" for path in (ROOT / "kernels").iterdir()}
    assert {name for name in names if ".dist-info/" not in name} == sources | kernels


def test_the_wheel_needs_numpy_and_nothing_else(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        metadata = wheel.read(next(n for n in wheel.namelist() if n.endswith("/METADATA"))).decode()
    needs = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    assert [line for line in needs if "extra ==" not in line] == ["Requires-Dist: numpy>=1.26"]


def test_the_wheel_brings_the_pytest_plugin(built: dict[str, Path], python: Path) -> None:
    install(python, built["wheel"])
    assert "--cuda-emulator" in run(python, "-m", "pytest", "--help")


def test_the_sdist_can_be_tested(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for name in ("pyproject.toml", "README.md", "LICENSE", "tests/conftest.py", "gpunet/py.typed"):
        assert name in names
    assert {f"kernels/{path.name}" for path in (ROOT / "kernels").iterdir()} <= names
