import pytest

from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup

TABLE = {"glorot_uniform": 1, "Zeros": 2, "relu6": 3}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("glorot_uniform", 1),
        ("GlorotUniform", 1),
        ("GLOROT_UNIFORM", 1),
        ("zeros", 2),
        ("ReLU6", 3),
    ],
)
def test_case_and_underscores_do_not_matter(name, value):
    assert lookup(name, TABLE, "thing") == value


def test_unknown_name_suggests_the_closest_and_lists_all():
    with pytest.raises(ArgumentError) as caught:
        lookup("glorot_unifrom", TABLE, "initializer")
    assert str(caught.value) == (
        "Unknown initializer 'glorot_unifrom': did you mean 'glorot_uniform'; the known ones are"
        " Zeros, glorot_uniform, relu6."
    )


def test_nothing_close_gives_no_suggestion():
    with pytest.raises(ArgumentError, match=r"^Unknown loss 'qqq': the known ones are Zeros, "):
        lookup("qqq", TABLE, "loss")


@pytest.mark.parametrize("name", [None, 3, b"zeros"])
def test_no_string(name):
    with pytest.raises(ArgumentError, match="must be one of Zeros, glorot_uniform, relu6, got "):
        lookup(name, TABLE, "loss")
