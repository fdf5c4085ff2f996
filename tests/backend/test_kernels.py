"""Finding, flattening and compiling the CUDA sources, without running them."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpunet.backend.cuda import grids
from gpunet.backend.cuda.kernels import (
    KernelCache,
    compile_options,
    find_kernels,
    flattened,
    source_of,
)
from gpunet.backend.spec import OPS
from gpunet.errors import DtypeError, KernelError

SOURCES = sorted(path.stem for path in find_kernels().glob("*.cu"))


def test_finds_the_folder_with_the_sentinel(tmp_path: Path) -> None:
    installed, checkout = tmp_path / "gpunet" / "kernels", tmp_path / "kernels"
    checkout.mkdir()
    (checkout / "common.cuh").touch()
    assert find_kernels((installed, checkout)) == checkout
    installed.mkdir(parents=True)
    assert find_kernels((installed, checkout)) == checkout  # a folder without the sentinel
    (installed / "common.cuh").touch()
    assert find_kernels((installed, checkout)) == installed


def test_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=re.escape(str(tmp_path / "here"))):
        find_kernels((tmp_path / "here",))


def test_flattening_keeps_the_lines_true(tmp_path: Path) -> None:
    (tmp_path / "common.cuh").write_text("// shared\nint h;\n")
    (tmp_path / "x.cu").write_text('// one\n#include "common.cuh"\n\nint third;\n')
    lines = flattened("x", tmp_path).splitlines()
    assert '#include "common.cuh"' not in lines
    assert lines[lines.index('#line 1 "common.cuh"') + 2] == "int h;"
    assert lines[lines.index('#line 3 "x.cu"') + 2] == "int third;"


def test_several_headers_keep_the_lines_true(tmp_path: Path) -> None:
    (tmp_path / "common.cuh").write_text("// shared\nint h;\n")
    (tmp_path / "losses.cuh").write_text("int l;\n")
    (tmp_path / "x.cu").write_text('#include "common.cuh"\n#include "losses.cuh"\nint third;\n')
    lines = flattened("x", tmp_path).splitlines()
    assert lines[lines.index('#line 1 "losses.cuh"') + 1] == "int l;"
    assert lines[lines.index('#line 3 "x.cu"') + 1] == "int third;"


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_is_left_to_include(source: str) -> None:
    includes = re.findall(r"^#include (.*)$", flattened(source), re.MULTILINE)
    assert includes == ["<cuda_bf16.h>", "<cuda_fp16.h>"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_opens_with_its_formula_and_its_bytes(source: str) -> None:
    text = (find_kernels() / f"{source}.cu").read_text()
    opening = text[: text.index("#include")]
    assert all(line.startswith("//") for line in opening.strip().splitlines())
    assert "=" in opening
    assert re.search(r"\b[Bb]ytes\b", opening)


@pytest.mark.parametrize("op", OPS)
def test_the_symbol_is_the_ops_name(op: str) -> None:
    assert source_of(op) in SOURCES


def test_an_op_without_a_kernel_is_named() -> None:
    with pytest.raises(KernelError, match=r"no file in .*kernels has a kernel of op 'softmux'"):
        source_of("softmux")


def test_no_atomics_on_floats_and_no_assembly() -> None:
    for source in SOURCES:
        code = re.sub(r"//.*", "", flattened(source))
        assert re.findall(r"\batomic\w+", code) == ["atomicInc"]  # the ticket's
        assert not re.search(r"\basm\b|wmma|cp\.async|cooperative_groups", code)


def test_other_element_types_are_refused() -> None:
    with pytest.raises(
        DtypeError, match="computes in float32, float16, bfloat16, got arrays of float64"
    ):
        compile_options(np.dtype("float64"))


def test_compilers_log_is_in_the_error() -> None:
    class Module:
        def __init__(self, code: str, options: tuple[str, ...]) -> None:
            assert "-std=c++17" in options

        def get_function(self, name: str) -> None:
            raise RuntimeError("memory.cu(7): error: expected a ';'")

    cache = KernelCache(SimpleNamespace(RawModule=Module))
    with pytest.raises(KernelError, match=r"'add' of kernels/memory.cu .*float32: memory.cu\(7\)"):
        cache.get("memory", "add", np.dtype("float32"))


def test_a_source_compiles_once_and_a_kernel_is_looked_up_once() -> None:
    calls = []

    class Module:
        def __init__(self, code: str, options: tuple[str, ...]) -> None:
            calls.append("module")

        def get_function(self, name: str) -> str:
            calls.append(name)
            return name

    cache = KernelCache(SimpleNamespace(RawModule=Module))
    for _ in range(2):
        assert cache.get("memory", "add", np.dtype("float32")) == "add"
        assert cache.get("memory", "copy_bytes4", np.dtype("float32")) == "copy_bytes4"
    assert calls == ["module", "add", "copy_bytes4"]


@pytest.mark.parametrize("multiprocessors", [1, 132])
@pytest.mark.parametrize("columns", [1, 10, 31, 128, 1023, 4096, 10**6])
@pytest.mark.parametrize("rows", [1, 33, 10**5, 10**8])
def test_grids_respect_the_devices_limits(multiprocessors: int, columns: int, rows: int) -> None:
    device = SimpleNamespace(
        max_blocks=8 * multiprocessors, multiprocessors=multiprocessors, cache_bytes=58 * 1024
    )
    for widest in (32, 256):
        grid, block = grids.rectangle(device, rows, columns, widest=widest)
        assert block[0] * block[1] == 256
        assert grid[0] * block[0] >= columns
        assert 1 <= grid[1] <= 65535
        # The partial sums of bias_act_backward fit into the scratch memory.
        assert grid[1] == 1 or grid[0] * grid[1] <= device.max_blocks
    plan = grids.row_launch(device, rows, columns, 1, kept=8)
    _, lanes, cached = plan.args
    assert 256 % lanes == 0
    assert plan.shared == cached * 8 * 256 <= device.cache_bytes
    assert cached == min(-(-columns // lanes), 29)
    assert 1 <= plan.grid[0] <= device.max_blocks
