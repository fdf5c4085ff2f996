"""Weights in files: whole or not at all, and never trusted."""

import io
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

from gpunet import Sequential, layers
from gpunet.errors import ArgumentError, GpunetError


def small(seed_shift=0.0):
    model = Sequential([layers.Dense(2, "relu", input_dim=3), layers.Dense(1)])
    model.set_weights([w + seed_shift for w in model.get_weights()])
    return model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.npz"


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_come_back_as_they_were(path):
    model, other = small(), small(1.0)
    model.save_weights(path)
    other.load_weights(str(path))
    assert_same(other.get_weights(), model.get_weights())
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file.files) == [
            "dense/bias",
            "dense/kernel",
            "dense_1/bias",
            "dense_1/kernel",
        ]


def test_training_goes_on_after_loading(path):
    model = small()
    model.compile("adam", "mse")
    x, y = np.ones((4, 3)), np.zeros((4, 1))
    model.fit(x, y, verbose=0)
    model.save_weights(path)
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, verbose=0)
    model.load_weights(path)
    assert model.evaluate(x, y, verbose=0) == before


@pytest.mark.emulator
def test_files_do_not_depend_on_the_device(path, tmp_path):
    model = small()
    model.save_weights(path)
    model.to("emulator").save_weights(tmp_path / "device.npz")
    other = small(1.0).to("emulator")
    other.load_weights(path)
    assert_same(other.get_weights(), model.get_weights())
    assert path.read_bytes() == (tmp_path / "device.npz").read_bytes()


def test_double_weights_are_saved_as_such(path):
    model = small().to(dtype="float64")
    model.save_weights(path)
    other = small(1.0).to(dtype="float64")
    other.load_weights(path)
    assert_same(other.get_weights(), model.get_weights())


def test_a_model_without_weights_can_be_saved(path):
    model = Sequential([layers.ReLU(input_dim=3)])
    model.save_weights(path)
    model.load_weights(path)


def test_a_file_is_not_replaced_if_not_wanted(path):
    small().save_weights(path)
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match=r"exists; pass overwrite=True"):
        small(1.0).save_weights(path, overwrite=False)
    assert path.read_bytes() == before
    small(1.0).save_weights(path)
    assert path.read_bytes() != before
    assert path.stat().st_mode & 0o111 == 0
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("name", ["weights", "weights.h5", "weights.pkl"])
def test_other_endings_are_refused(tmp_path, name):
    for use in (small().save_weights, small().load_weights):
        with pytest.raises(ArgumentError, match=rf"end in \.npz, .* got '.*{name}'"):
            use(tmp_path / name)


def test_a_file_that_is_not_there_is_a_file_not_found_error(path):
    with pytest.raises(FileNotFoundError):
        small().load_weights(path)


# ----------------------------------------------------------------------- damaged files


def refused(model, path):
    """The message with which a file was refused; nothing has changed."""
    before = model.get_weights()
    with pytest.raises(GpunetError) as caught:
        model.load_weights(path)
    assert_same(model.get_weights(), before)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def npz(path, **arrays):
    np.savez(path, **arrays)


def right_arrays():
    names = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    return dict(zip(names, small().get_weights(), strict=True))


FOREIGN = [
    ("another shape", {"dense/kernel": np.zeros((3, 3))}, r"'kernel'.*\(3, 2\), got \(3, 3\)"),
    ("text", {"dense_1/bias": np.array(["a"])}, "numbers, got dtype"),
    ("complex", {"dense_1/bias": np.array([1j])}, "numbers, got dtype complex128"),
    ("besides", {"more": np.zeros(2)}, "lacks nothing and has besides more"),
]


@pytest.mark.parametrize(
    ("arrays", "message"), [f[1:] for f in FOREIGN], ids=[f[0] for f in FOREIGN]
)
def test_weights_of_another_model_are_refused(path, arrays, message):
    import re

    npz(path, **(right_arrays() | arrays))
    assert re.search(message, refused(small(), path))


def test_weights_that_lack_one_are_refused(path):
    arrays = right_arrays()
    del arrays["dense_1/bias"]
    npz(path, **arrays)
    assert "lacks dense_1/bias and has besides nothing" in refused(small(), path)


def test_every_truncated_file_is_refused(path):
    model = small()
    model.save_weights(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert "no readable .npz file of weights" in refused(model, path)


def test_a_damaged_byte_is_refused_or_did_not_matter(path):
    model = small()
    model.save_weights(path)
    whole, rng, refusals = path.read_bytes(), np.random.default_rng(0), 0
    right = model.get_weights()
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            model.load_weights(path)
        except GpunetError:
            refusals += 1
        assert_same(model.get_weights(), right)
    assert refusals > 200


NOT_NPZ = {
    "empty": b"",
    "text": b"hello",
    "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
    "zip": b"PK\x05\x06" + bytes(18),
    "pickle": pickle.dumps({"dense/kernel": [1.0]}),
}


@pytest.mark.parametrize("kind", NOT_NPZ)
def test_what_is_no_npz_is_refused(path, kind):
    path.write_bytes(NOT_NPZ[kind])
    refused(small(), path)


def test_an_npy_under_the_name_of_an_npz_is_refused(path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())
    assert "no readable .npz file of weights" in refused(small(), path)


def test_a_folder_is_refused(path):
    path.mkdir()
    assert "no readable .npz file of weights" in refused(small(), path)


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_a_pickle_is_never_read(path, tmp_path):
    mark = tmp_path / "mark"
    bomb = np.empty(1, object)
    bomb[0] = Bomb(mark)
    np.savez(path, **(right_arrays() | {"dense_1/bias": bomb}))
    refused(small(), path)
    with zipfile.ZipFile(path, "w") as file:
        for name, array in right_arrays().items():
            file.writestr(f"{name}.npy", pickle.dumps([Bomb(mark), array]))
    refused(small(), path)
    path.write_bytes(pickle.dumps(Bomb(mark)))
    refused(small(), path)
    assert not mark.exists()


# ------------------------------------------------------------------------------ crashes

SAVE_AND_DIE = """
    import os, signal, sys
    import numpy as np
    from gpunet import Sequential, layers
    import gpunet.saving.weights as saving

    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    if sys.argv[2] == "half":
        savez = np.savez
        def half(file, **arrays):
            savez(file, **arrays)
            file.truncate(100)
            file.flush()
            die()
        saving.np.savez = half
    else:
        setattr(saving.os, sys.argv[2], die)
    model = Sequential([layers.Dense(2, "relu", input_dim=3), layers.Dense(1)])
    model.set_weights([w + 1 for w in model.get_weights()])
    model.save_weights(sys.argv[1])
"""


@pytest.mark.parametrize("moment", ["half", "fsync", "replace"])
def test_a_kill_while_saving_leaves_the_old_file(path, moment):
    model = small()
    model.save_weights(path)
    before = path.read_bytes()
    script = textwrap.dedent(SAVE_AND_DIE)
    result = subprocess.run([sys.executable, "-c", script, str(path), moment], check=False)
    assert result.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    small(5.0).load_weights(path)


def test_an_error_while_saving_leaves_the_old_file_and_no_other(path, monkeypatch):
    model = small()
    model.save_weights(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpunet.saving.weights.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        model.save_weights(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
