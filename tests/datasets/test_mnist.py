import gzip
import io
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gpunet.datasets import fashion_mnist, idx, mnist
from gpunet.errors import ArgumentError, DataUnavailable

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MODULES = [mnist, fashion_mnist]
NAMES = {mnist: "mnist", fashion_mnist: "fashion-mnist"}


def idx_bytes(array):
    return b"\0\0\x08" + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape) + array.tobytes()


def make_arrays():
    numbers = np.random.default_rng(0)
    return [
        array
        for count in (5, 3)
        for array in (
            numbers.integers(0, 256, (count, 28, 28), np.uint8),
            numbers.integers(0, 10, count, np.uint8),
        )
    ]


def write(folder, arrays, compress=True):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(idx._FILES, arrays, strict=True):
        content = idx_bytes(array)
        if compress:
            (folder / f"{stem}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / stem).write_bytes(content)
    return folder


def write_npz(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **dict(zip(idx._NPZ_ARRAYS, arrays, strict=True)))
    return path


def check(split, arrays):
    got = [array for part in split for array in part]
    for array, expected in zip(got, arrays, strict=True):
        assert array.dtype == np.uint8
        assert array.flags.writeable
        np.testing.assert_array_equal(array, expected)


@pytest.fixture(autouse=True)
def _nothing_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "_SYSTEM", tmp_path / "system")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("GPUNET_DATA", raising=False)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("kind", [Path, str])
def test_idx_files_of_a_folder(module, compress, kind, tmp_path):
    arrays = make_arrays()
    folder = write(tmp_path / "mine", arrays, compress)
    check(module.load_data(kind(folder)), arrays)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("place", ["own", "system", "keras"])
def test_places_that_are_searched(module, place, tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNET_DATA", str(tmp_path / "own"))
    folder = tmp_path / place / ("datasets" if place == "keras" else "") / NAMES[module]
    arrays = make_arrays()
    write(folder, arrays)
    check(module.load_data(), arrays)


def test_the_own_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNET_DATA", str(tmp_path / "own"))
    arrays = make_arrays()
    write(tmp_path / "own" / "mnist", arrays)
    write(tmp_path / "system" / "mnist", [a[:1] for a in arrays])
    check(mnist.load_data(), arrays)


def test_incomplete_folders_are_passed_over(tmp_path):
    arrays = make_arrays()
    write(tmp_path / "system" / "mnist", arrays)
    (tmp_path / "system" / "mnist" / f"{idx._FILES[2]}.gz").unlink()
    write(tmp_path / "keras" / "datasets" / "mnist", arrays)
    check(mnist.load_data(), arrays)


def test_keras_npz(tmp_path):
    arrays = make_arrays()
    path = write_npz(tmp_path / "keras" / "datasets" / "mnist.npz", arrays)
    check(mnist.load_data(), arrays)
    check(mnist.load_data("mnist.npz"), arrays)  # as in Keras, relative to its cache
    check(mnist.load_data(path), arrays)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("given", [True, False])
def test_nothing_there_says_how_to_get_it(module, given, tmp_path):
    with pytest.raises(DataUnavailable) as caught:
        module.load_data(tmp_path / "nowhere" if given else None)
    message = str(caught.value)
    assert "was not found in '" in message
    assert "put the four files train-images-idx3-ubyte, " in message
    assert ("apt-get install dataset-fashion-mnist" in message) == (module is fashion_mnist)
    assert "\n" not in message
    assert message.count(". ") == 0


GOOD = idx_bytes(make_arrays()[0])
MALFORMED = {
    "empty": (b"", "truncated: 4 of 4 bytes are missing"),
    "short header": (GOOD[:9], "truncated: 7 of 12 bytes"),
    "truncated": (GOOD[:-1], "truncated: 1 of 3920 bytes"),
    "too long": (GOOD + b"x", r"goes on after the 3920 bytes of \(5, 28, 28\)"),
    "magic": (b"\x89PNG" + GOOD[4:], "magic number is 89504e47"),
    "floats": (b"\0\0\x0d\x03" + GOOD[4:], "magic number is 00000d03"),
    "no dimensions": (b"\0\0\x08\0", "magic number is 00000800"),
    "many dimensions": (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "magic number is 000008ff"),
    "huge": (b"\0\0\x08\x03" + b"\xff" * 12 + b"x" * 99, "truncated: [0-9]+ of 792281"),
    "labels": (idx_bytes(make_arrays()[1]), r"images are uint8 \(5,\), not uint8 \(n, 28, 28\)"),
    "size": (idx_bytes(np.zeros((5, 8, 8), np.uint8)), r"images are uint8 \(5, 8, 8\)"),
    "count": (idx_bytes(np.zeros((4, 28, 28), np.uint8)), "not one uint8 per image of 4"),
}


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_idx(content, message, compress, tmp_path):
    folder = write(tmp_path, make_arrays(), compress)
    name = idx._FILES[0] + (".gz" if compress else "")
    (folder / name).write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(ArgumentError, match=message) as caught:
        mnist.load_data(folder)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c[:-9],
        lambda c: c[:20],
        lambda c: b"plain",
        lambda c: c[:-8] + b"\0\0\0\0" + c[-4:],
        lambda c: c + b"junk",
    ],
)
def test_corrupt_gzip(spoil, tmp_path):
    folder = write(tmp_path, make_arrays())
    path = folder / f"{idx._FILES[0]}.gz"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ArgumentError, match="compression is broken"):
        mnist.load_data(folder)


def test_labels_beyond_the_classes(tmp_path):
    arrays = make_arrays()
    arrays[3][1] = 10
    with pytest.raises(ArgumentError, match="has the label 10, beyond 9"):
        mnist.load_data(write(tmp_path, arrays))


def npz_with(**entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 no zip",
        npy(np.zeros(3)),
        npy(np.array([{}], dtype=object)),
        npz_with(x_train=npy(np.zeros(3, np.uint8))),
        npz_with(**dict.fromkeys(idx._NPZ_ARRAYS, npy(np.array([{}], dtype=object)))),
        npz_with(**dict.fromkeys(idx._NPZ_ARRAYS, b"\x93NUMPY\x01\0\x10\0{'descr': exit()")),
        npz_with(**dict.fromkeys(idx._NPZ_ARRAYS, b"no array")),
    ],
)
def test_malformed_npz(content, tmp_path):
    path = tmp_path / "mnist.npz"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"it is no \.npz with x_train|its images are"):
        mnist.load_data(path)


def test_npz_with_other_dtypes(tmp_path):
    arrays = make_arrays()
    arrays[0] = arrays[0].astype(np.float64)
    with pytest.raises(ArgumentError, match="images are float64"):
        mnist.load_data(write_npz(tmp_path / "mnist.npz", arrays))


@pytest.mark.parametrize("which", ["idx", "gz", "npz"])
def test_damaged_files_never_do_worse_than_a_message(which, tmp_path):
    choose = random.Random(0)
    arrays = make_arrays()
    if which == "npz":
        place = path = write_npz(tmp_path / "mnist.npz", arrays)
    else:
        place = write(tmp_path, arrays, which == "gz")
        path = place / (idx._FILES[1] + (".gz" if which == "gz" else ""))
    good = path.read_bytes()
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(choose.randint(1, 4)):
            bad[choose.randrange(min(len(bad), 3000))] = choose.randrange(256)
        path.write_bytes(bad[: choose.choice([len(bad), choose.randrange(len(bad))])])
        try:
            mnist.load_data(place)
        except ArgumentError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_class_names():
    assert len(fashion_mnist.CLASS_NAMES) == 10
    assert fashion_mnist.CLASS_NAMES[9] == "Ankle boot"


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="apt-get install dataset-fashion-mnist")
def test_the_real_data():
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data(DEBIAN)
    assert x_train.shape == (60000, 28, 28)
    assert x_test.shape == (10000, 28, 28)
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    assert y_train[:5].tolist() == [9, 0, 0, 3, 0]
    assert abs(x_train.mean() - 72.94) < 0.01
