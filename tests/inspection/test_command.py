"""``python -m gpunet kernels``: the table, and what it says where tools are missing."""

import pytest

from gpunet.__main__ import main
from gpunet.errors import BackendUnavailable, MissingDependency
from gpunet.inspection import command


def run(capsys, *arguments):
    status = main(["kernels", *arguments])
    return status, capsys.readouterr().out.splitlines()


@pytest.fixture
def no_compiler(monkeypatch):
    def missing():
        raise MissingDependency("no NVRTC here: install it")

    monkeypatch.setattr(command, "Toolkit", missing)


@pytest.fixture
def no_emulator(monkeypatch):
    def missing(name):
        raise BackendUnavailable("no g++ here: install it")

    monkeypatch.setattr(command, "backend_named", missing)


@pytest.mark.nvrtc
@pytest.mark.emulator
def test_a_line_says_what_a_kernel_does_and_compiles_to(capsys):
    status, lines = run(capsys, "add", "scale_shift", "--sm", "90")
    assert status == 0
    assert " ".join(lines[1].split()) == (
        "kernel launches touched moved sectors coal % wide % banks 90 90 90 90"
    )
    name, *counts, registers, occupancy, loads, stores = lines[2].split()
    assert name == "add"
    assert counts == ["1", "1.00", "1.00", "1.00", "100%", "100%", "1.00"]
    assert 0 < int(registers) < 64
    assert occupancy == "100%"
    assert (loads, stores) == ("2", "1")
    assert lines[3].startswith("scale_shift_float32 ")
    assert len(lines) == 4


@pytest.mark.emulator
def test_without_nvrtc_the_rest_is_printed_and_what_helps(capsys, no_compiler):
    status, lines = run(capsys, "add")
    assert status == 1
    assert " ".join(lines[2].split()) == "add 1 1.00 1.00 1.00 100% 100% 1.00"
    assert lines[-1] == "no NVRTC here: install it"


@pytest.mark.nvrtc
def test_without_an_emulator_the_rest_is_printed_and_what_helps(capsys, no_emulator):
    status, lines = run(capsys, "dropout", "--sm", "90")
    assert status == 1
    assert len(lines[2].split()) == 5
    assert lines[-1] == "no g++ here: install it"


@pytest.mark.nvrtc
def test_a_spill_is_printed(capsys, monkeypatch, no_emulator):
    monkeypatch.setattr(command.KernelCode, "faults", lambda self: [f"{self.name} spills"])
    _, lines = run(capsys, "dropout", "--sm", "90")
    assert lines[3] == "    dropout spills"


def test_unknown_ops_and_architectures_are_refused():
    for arguments in (["softmux"], ["softmax", "--sm", "30"], ["softmax", "--type", "float8"]):
        with pytest.raises(SystemExit) as ended:
            main(["kernels", *arguments])
        assert ended.value.code == 2
