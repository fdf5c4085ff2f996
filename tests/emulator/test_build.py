"""The compiler, its cache, and the two ways to switch between threads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from gpunet.emulator import CompileException, build
from gpunet.emulator import cupy as cp
from gpunet.errors import BackendUnavailable

KERNEL = 'extern "C" __global__ void k(int* x) { *x = 1; }'


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUNET_EMULATOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run_python(code, **environment):
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )


def test_importing_compiles_nothing(tmp_path):
    code = "import gpunet.emulator, gpunet.emulator.cupy"
    process = run_python(code, GPUNET_EMULATOR_CACHE=str(tmp_path / "cache"))
    process.communicate()
    assert process.returncode == 0
    assert not (tmp_path / "cache").exists()


def test_options_are_understood_in_every_spelling():
    spelled = ["-DA=1", "-D", "B", "--define-macro=C=x=y", "-I", "some", "--std=c++20", "-lineinfo"]
    options = build.Options.parse(spelled)
    assert options.define_lines() == "#define A 1\n#define B 1\n#define C x=y\n"
    assert options.include_paths == (os.path.abspath("some"),)
    assert options.standard == "c++20"
    assert build.Options.parse(["-std=c++11"]).standard == "c++17"


def test_a_missing_compiler_is_named(monkeypatch, cache):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendUnavailable, match=r"no-such-compiler.*apt-get install g\+\+"):
        build.compile_module(KERNEL)


def test_an_unwritable_cache_is_replaced(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPUNET_EMULATOR_CACHE", str(tmp_path / "file" / "cache"))
    assert build.cache_directory() != tmp_path / "file" / "cache"
    assert os.access(build.cache_directory(), os.W_OK)


@pytest.mark.emulator
def test_the_cache_is_keyed_by_content(cache):
    first = build.compile_module(KERNEL)
    stamp = first.stat().st_mtime_ns
    assert first.parent == cache
    assert build.compile_module(KERNEL) == first
    assert first.stat().st_mtime_ns == stamp
    others = [
        build.compile_module(KERNEL + "\n"),
        build.compile_module(KERNEL, ("-DX=1",)),
        build.compile_module(KERNEL, ("-std=c++20",)),
    ]
    assert len({first, *others}) == 4
    with pytest.raises(CompileException):
        build.compile_module("broken")
    assert {path.suffix for path in cache.iterdir()} == {".so"}  # nothing half-done is left


@pytest.mark.emulator
def test_an_included_file_belongs_to_the_content(cache, tmp_path):
    code = '#include "value.h"\nextern "C" __global__ void k(int* x) { *x = VALUE; }'
    seen = []
    for value in (3, 4):
        (tmp_path / "value.h").write_text(f"#define VALUE {value}\n")
        x = cp.zeros(1, cp.int32)
        cp.RawKernel(code, "k", (f"-I{tmp_path}",))((1,), (1,), (x,))
        seen.append(x.item())
    assert seen == [3, 4]


@pytest.mark.emulator
def test_several_processes_may_build_the_same_module(tmp_path):
    code = f"""
        from gpunet.emulator import cupy as cp
        x = cp.zeros(1, cp.int32)
        cp.RawKernel({KERNEL!r}, "k")((1,), (1,), (x,))
        print(x.item())
    """
    directory = tmp_path / "cache"
    processes = [run_python(code, GPUNET_EMULATOR_CACHE=str(directory)) for _ in range(3)]
    assert [process.communicate()[0] for process in processes] == ["1\n"] * 3
    assert len(list(directory.iterdir())) == 2  # the runtime and the module


@pytest.mark.emulator
def test_the_portable_switch_between_threads(tmp_path):
    code = r"""
        from gpunet.emulator import KernelFault, cupy as cp
        module = cp.RawModule(code='''
            extern "C" __global__ void rotate(int* x) {
                __shared__ int s[64];
                s[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
                __syncthreads();
                x[threadIdx.x] = s[(threadIdx.x + 1) % 64];
            }
            extern "C" __global__ void bad(int* x) { if (threadIdx.x) __syncthreads(); }
        ''')
        x = cp.arange(64, dtype=cp.int32)
        try:
            module.get_function("bad")((1,), (64,), (x,))
        except KernelFault as fault:
            assert "63 of the block's 64 threads" in str(fault)
        module.get_function("rotate")((1,), (64,), (x,))
        print(x.get().tolist() == [(i + 1) % 64 ^ 1 for i in range(64)])
    """
    environment = {"GPUNET_EMULATOR": "portable"}
    process = run_python(code, GPUNET_EMULATOR_CACHE=str(tmp_path), **environment)
    assert process.communicate()[0] == "True\n"
