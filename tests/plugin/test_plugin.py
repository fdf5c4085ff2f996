"""pytest --cuda-emulator: a project's kernels run and are checked, as the README shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "project"
PLUGIN = ["-p", "gpunet.pytest_plugin"]

pytestmark = pytest.mark.emulator


def run(*arguments, cwd=PROJECT, **environment):
    """Run pytest in a process of its own; return its exit code and what it printed."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment}
    variables = {name: value for name, value in variables.items() if value is not None}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def report():
    code, printed = run(*PLUGIN, "--cuda-emulator", "-v", GPUNET_EMULATOR=None)
    assert code == 1
    return printed


def failure(report, name):
    """What is printed about one failure."""
    sections = re.split(r"^_{3,} (.+) _{3,}$", report, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))[name]


def test_correct_kernels_pass(report):
    assert "cuda-emulator: kernels run on the CPU, checked\n" in report
    outcomes = re.findall(r"^test_right\.py::(\S+) (\w+)", report, re.MULTILINE)
    assert len(outcomes) == 6
    assert {outcome for _, outcome in outcomes} == {"PASSED"}


@pytest.mark.parametrize(
    ("name", "message", "lines"),
    [
        (
            "test_race_in_a_block",
            r"kernel 'race_in_a_block': race on .*'s'.*: written by \[block \(0, 0, 0\), thread "
            r"\(0, 0, 0\), kernel\.cu:6\] and read by \[block \(0, 0, 0\), thread \(1, 0, 0\), "
            r"kernel\.cu:7\]",
            {6: "s[t] = x[t];", 7: "y[t] = t > 0 ? s[t] - s[t - 1] : s[t];"},
        ),
        (
            "test_race_between_blocks",
            r"race on 'x'\[0\]: .*\[block \(0, 0, 0\), .* \[block \(1, 0, 0\), ",
            {10: "if (threadIdx.x == 0) x[0] += 1.0f;"},
        ),
        (
            "test_past_the_end",
            r"out-of-bounds read of 4 bytes, 0 bytes past the end of 'x' .*thread \(255, 0, 0\)",
            {13: "y[threadIdx.x] = x[threadIdx.x + 1] - x[threadIdx.x];"},
        ),
        (
            "test_missed_barrier",
            r"divergent __syncthreads.*kernel\.cu:16",
            {16: "if (threadIdx.x < 100) __syncthreads();"},
        ),
        ("test_memory_never_written", r"read of memory that was never written: 'x'\[0\]", {10: ""}),
        ("ERROR at setup of test_fault_in_a_fixture", "divergent __syncthreads", {16: ""}),
    ],
)
def test_faults_fail_the_test_with_kernel_line_and_threads(report, name, message, lines):
    text = failure(report, name)
    said = re.sub(r"\nE {9}", " ", text)  # the message is broken into lines
    assert re.search(rf"^E +gpunet\.emulator\.faults\.KernelFault: .*{message}", said, re.MULTILINE)
    assert max(map(len, re.findall(r"^E .*$", text, re.MULTILINE))) <= 90
    assert "- CUDA source -" in text
    for number, line in lines.items():
        assert re.search(rf"^> +{number} .*{re.escape(line)}$", text, re.MULTILINE)
    assert "gpunet/emulator" not in text  # the traceback ends in the test
    assert "test_wrong.py:" in text


def test_wrong_results_fail_as_ever(report):
    text = failure(report, "test_wrong_result")
    assert "assert array(2., dtype=float32) == 3" in re.sub(r"\s+", " ", text)
    assert "CUDA source" not in text


def test_the_fast_profile_finds_less():
    code, printed = run(*PLUGIN, "--cuda-emulator", "-k", "race_in_a_block", GPUNET_EMULATOR="fast")
    assert code == 0, printed
    assert "cuda-emulator: kernels run on the CPU, fast\n" in printed


def test_a_seed_draws_the_order_of_threads():
    options = ("--cuda-emulator", "--cuda-seed=3", "-k", "race_in_a_block")
    code, printed = run(*PLUGIN, *options, GPUNET_EMULATOR=None)
    assert code == 1
    assert "kernels run on the CPU, checked, threads in the order of seed 3" in printed
    assert "kernel 'race_in_a_block': " in printed
    assert "thread (1, 0, 0)" not in failure(printed, "test_race_in_a_block")
    assert run(*PLUGIN, *options[:2], "test_right.py", GPUNET_EMULATOR=None)[0] == 0


def test_a_seed_needs_the_emulator():
    code, printed = run(*PLUGIN, "--cuda-seed=3", "test_right.py")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "--cuda-seed orders the threads of --cuda-emulator: add it." in printed


def test_without_the_option_nothing_happens(tmp_path):
    (tmp_path / "test_off.py").write_text(
        "import os, sys\ndef test(): assert not {'cupy', 'gpunet.emulator'} & {*sys.modules}\n"
        "def test_profile(): assert 'GPUNET_EMULATOR' not in os.environ\n"
    )
    code, printed = run(*PLUGIN, cwd=tmp_path, GPUNET_EMULATOR=None)
    assert code == 0, printed


def test_the_end_puts_everything_back(tmp_path):
    (tmp_path / "test_on.py").write_text("import cupy\ndef test(): assert cupy.arange(3)[2] == 2\n")
    (tmp_path / "twice.py").write_text(
        "import os, sys, pytest\n"
        "for run in range(2):\n"
        "    code = pytest.main(['-q', *sys.argv[1:], '--cuda-emulator', 'test_on.py'])\n"
        "    assert code == 0 and not {'cupy', 'cupyx'} & {*sys.modules}\n"
        "    assert 'GPUNET_EMULATOR' not in os.environ\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("GPUNET_EMULATOR", None)
    command = [sys.executable, "twice.py", *PLUGIN]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)


def test_cupy_itself_must_not_be_there_before(tmp_path):
    (tmp_path / "cupy.py").write_text("")
    (tmp_path / "test_it.py").write_text("def test(): pass\n")
    code, printed = run(
        "-p", "cupy", *PLUGIN, "--cuda-emulator", cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}"
    )
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "--cuda-emulator comes too late: CuPy itself has been imported already" in printed


def test_a_missing_compiler_is_said_at_once():
    code, printed = run(*PLUGIN, "--cuda-emulator", CXX="no-such-compiler")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "the emulator needs a C++ compiler, and 'no-such-compiler' was not found" in printed


# ------------------------------------------------------------------------------- the README

README = (ROOT / "README.md").read_text("utf-8")
SECTION = README.partition("## No GPU? Write and check CUDA kernels anyway\n")[2].partition(
    "\n## "
)[0]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def test_the_readme_shows_what_is_printed(tmp_path):
    source, command, output, plain = (block for _, block in BLOCKS[:4])
    assert command.rstrip().endswith("pytest --cuda-emulator")
    (tmp_path / "test_kernels.py").write_text(source)
    code, printed = run(*PLUGIN, "--cuda-emulator", cwd=tmp_path, GPUNET_EMULATOR=None)
    assert code == 1
    assert output in printed
    # With the barrier that the README names, it passes.
    fixed = source.replace("s[t] = x[t];\n", "s[t] = x[t];\n    __syncthreads();\n")
    assert fixed != source
    (tmp_path / "test_kernels.py").write_text(fixed)
    code, printed = run(*PLUGIN, "--cuda-emulator", cwd=tmp_path, GPUNET_EMULATOR=None)
    assert code == 0, printed
    exec(compile(plain, "README.md", "exec"), {})
