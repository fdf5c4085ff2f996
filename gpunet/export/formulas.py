"""The contract's formula of an op, written with the names of its real arrays."""

from __future__ import annotations

import re

from gpunet.engine.recorder import Record
from gpunet.export.names import Names


def formula(record: Record, names: Names) -> str:
    """What an op computes, in one sentence: "dense_y = relu(x dense_kernel + dense_bias)".

    The formula is the first of the op's description in the contract, up to what explains it. Where
    there is none, that description itself is returned.
    """
    description = " ".join(record.op.doc.split("\n\n")[0].split())
    text = re.split(r": |; |, where |, both of ", description.rstrip("."))[0]
    if "=" not in text:
        return description
    text = _with_attributes(record, text)
    words = {parameter.name: names[buffer] for parameter, buffer in record.items()}
    for parameter in record.op.parameters:
        if parameter.name not in words:  # left out: a term, or an equation of its own
            text = re.sub(rf" \+ {parameter.name}\b|,? (and )?\b{parameter.name} = [^,]*", "", text)
    if record.attributes.get("accumulate"):
        sums = "|".join(p.name for p in record.op.parameters if p.role == "sum")
        text = re.sub(rf"\b({sums}) = ", r"\1 += ", text)
    names_of_arrays = "|".join(sorted(words, key=len, reverse=True))
    # x, and the x of x_j or x_0, but not the x of exp.
    word = re.compile(rf"(?<!\w)({names_of_arrays})(?=_\w\b|\b)")
    return word.sub(lambda match: words[match[1]], text)


def _with_attributes(record: Record, text: str) -> str:
    """The formula with the values of the op's keyword arguments."""
    attributes = record.attributes
    if attributes.get("activation") == "linear":
        text = re.sub(r" \* activation'\(saved\)", "", text)
        text = re.sub(r"activation\((.*)\)", r"\1", text)
    if attributes.get("scale") == 1.0:
        text = text.replace("scale * ", "")
    if attributes.get("offset") == 0.0:
        text = text.replace(" + offset", "")
    for name, value in attributes.items():
        if not isinstance(value, bool):
            text = re.sub(rf"\b{name}\b", str(value), text)

    def product(match: re.Match[str]) -> str:
        flag = record.op.transpose.get(match[1], "")
        return f"{match[1]}^T" if attributes.get(flag) else match[1]

    return re.sub(r"\bop\((\w+)\)", product, text)
