"""What a network trained with the loss `gpunet.losses.CTC` has read: from steps to labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.errors import ArgumentError, ShapeError

Values = np.ndarray[Any, Any]
_END = -1  # what fills the rows behind their labels


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[Values, Values]:
    """The labels of each sample, from the logits of its steps.

    "greedy" takes the best class of each step, merges equal neighbours and drops blanks.
    "beam_search" looks for the label sequences whose ways through the steps are together the
    likeliest: after each step it keeps the beam_width best beginnings (Graves and Jaitly, 2014).

    Args:
        inputs: logits, (samples, steps, classes).
        sequence_lengths: how many steps each sample has, (samples,).
        strategy: "greedy" or "beam_search".
        beam_width: how many beginnings are kept.
        top_paths: how many sequences a beam search returns for a sample, the best first.
        merge_repeated: whether "greedy" merges equal neighbours.
        mask_index: the class of the blank.

    Returns:
        The labels, (1, samples, steps) or (top_paths, samples, steps), with -1 behind the last;
        and scores: of "greedy" the negative sum of the best logits, (samples, 1), of "beam_search"
        log-probabilities, (samples, top_paths).

    Raises:
        ArgumentError: an unknown strategy, or numbers that make no sense.
        ShapeError: inputs are no (samples, steps, classes), or lengths do not fit them.

    Example:
        >>> import numpy as np
        >>> steps = np.array([[1, 1, 0, 1, 2, 2]])  # the best class of each step
        >>> labels, scores = ctc_decode(np.eye(3)[steps], [6])
        >>> labels[0]
        array([[ 1,  1,  2, -1, -1, -1]], dtype=int32)
    """
    logits, lengths = np.asarray(inputs), np.asarray(sequence_lengths, np.int64)
    if logits.ndim != 3 or lengths.shape != logits.shape[:1]:
        raise ShapeError(
            "ctc_decode takes inputs (samples, steps, classes) and a length for each sample, got "
            f"{logits.shape} and {lengths.shape}."
        )
    samples, steps, classes = logits.shape
    if lengths.size and not 0 <= lengths.min() <= lengths.max() <= steps:
        raise ArgumentError(
            f"ctc_decode got sequence_lengths from {lengths.min()} to {lengths.max()}, but inputs "
            f"have {steps} steps."
        )
    _check_count("beam_width", beam_width, None)
    _check_count("top_paths", top_paths, beam_width)
    if not 0 <= mask_index < classes:
        raise ArgumentError(
            f"ctc_decode takes one of the {classes} classes as mask_index, got {mask_index!r}."
        )
    if not np.issubdtype(logits.dtype, np.floating) or logits.dtype == np.float16:
        logits = logits.astype(np.float32)
    pieces = [logits[i, : int(lengths[i])] for i in range(samples)]
    if strategy == "greedy":
        found = [[_best_classes(piece, mask_index, merge_repeated)] for piece in pieces]
    elif strategy == "beam_search":
        found = [_beam_search(piece, beam_width, top_paths, mask_index) for piece in pieces]
    else:
        raise ArgumentError(
            f"ctc_decode knows the strategies 'greedy' and 'beam_search', got {strategy!r}."
        )
    paths = 1 if strategy == "greedy" else top_paths
    labels = np.full((paths, samples, steps), _END, np.int32)
    scores = np.full((samples, paths), -np.inf, logits.dtype)
    for sample, sequences in enumerate(found):
        for rank, (sequence, score) in enumerate(sequences):
            labels[rank, sample, : len(sequence)] = sequence
            scores[sample, rank] = score
    return labels, scores


def _check_count(name: str, value: Any, most: int | None) -> None:
    if not isinstance(value, int | np.integer) or value < 1 or (most is not None and value > most):
        bound = "" if most is None else f" up to the beam's width, {most}"
        raise ArgumentError(
            f"ctc_decode takes a positive integer{bound} for {name}, got {value!r}."
        )


def _best_classes(logits: Values, blank: int, merge: bool) -> tuple[tuple[int, ...], float]:
    """The labels of the likeliest way through the steps, and less the sum of its logits."""
    best = logits.argmax(axis=1) if len(logits) else np.zeros(0, np.int64)
    kept = best != blank
    if merge:
        kept[1:] &= best[1:] != best[:-1]
    score = -float(np.take_along_axis(logits, best[:, None], axis=1).sum()) if len(best) else 0.0
    return tuple(best[kept].tolist()), score


def _beam_search(
    logits: Values, width: int, paths: int, blank: int
) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest label sequences, best first, with their log-probabilities.

    A beginning has two: of the ways that end with a blank, and of those that end with its label.
    """
    beginnings: list[tuple[int, ...]] = [()]
    ends_blank, ends_label = np.zeros(1), np.full(1, -np.inf)
    for row in logits.astype(np.float64):
        step = row - row.max()
        step -= np.log(np.exp(step).sum())  # log-probabilities
        total = np.logaddexp(ends_blank, ends_label)
        last = np.array([labels[-1] if labels else blank for labels in beginnings])
        longer = total[:, None] + step  # (beginnings, classes)
        # Only a blank between them keeps a label and its repetition apart.
        longer[np.arange(len(last)), last] = ends_blank + step[last]
        longer[:, blank] = -np.inf
        same_label = np.where(last == blank, -np.inf, ends_label + step[last])
        places = {labels: place for place, labels in enumerate(beginnings)}
        for place, labels in enumerate(beginnings):
            shorter = places.get(labels[:-1]) if labels else None
            if shorter is not None:  # which becomes this one by a label more
                same_label[place] = np.logaddexp(same_label[place], longer[shorter, labels[-1]])
                longer[shorter, labels[-1]] = -np.inf
        same_blank = total + step[blank]
        scores = np.concatenate([np.logaddexp(same_blank, same_label), longer.reshape(-1)])
        best = np.argsort(-scores, kind="stable")[:width]
        best = best[scores[best] > -np.inf]
        ends_blank = np.concatenate([same_blank, np.full(longer.size, -np.inf)])[best]
        ends_label = np.concatenate([same_label, longer.reshape(-1)])[best]
        count, classes = longer.shape
        beginnings = [
            beginnings[i] if i < count else _extended(beginnings, *divmod(i - count, classes))
            for i in best.tolist()
        ]
    total = np.logaddexp(ends_blank, ends_label)
    order = np.argsort(-total, kind="stable")[:paths]
    return [(beginnings[i], float(total[i])) for i in order]


def _extended(beginnings: list[tuple[int, ...]], place: int, label: int) -> tuple[int, ...]:
    return (*beginnings[place], label)
