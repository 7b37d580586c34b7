"""Training in many processes (torch.distributed): which one writes, and rows brought together.

One process writes, the one of rank 0. A probe set that each process holds a part of is gathered to
it in the order of the examples, and no row is lost on the way. Nothing here imports torch unless
the training has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from projector_export.errors import DataError

if TYPE_CHECKING:
    import torch

_NOTHING = "no process gave a vector; expected each example from at least one"
_UNUSABLE = -1  # in a header: this process has nothing that can be gathered


def rank() -> int:
    """Return this process's rank; 0 for the one that writes, and for a training of one process.

    From torch.distributed where it runs, else from what launchers set: RANK, or before a process
    group is there, LOCAL_RANK and NODE_RANK, of which only "both are 0" is used.
    """
    if (group := _running()) is not None:
        return int(group.get_rank())
    if (number := os.environ.get("RANK", "")).isdecimal():
        return int(number)
    local = [os.environ.get(name, "") for name in ("LOCAL_RANK", "NODE_RANK")]
    return max((int(number) for number in local if number.isdecimal()), default=0)


def from_rank_zero(answer: bool) -> bool:
    """Return rank 0's answer in every process, so that all enter a collective or none does.

    All processes must call it: `if from_rank_zero(recorder.is_due(step)): ... gather_rows(...)`.
    """
    if (group := _running()) is None:
        return answer
    import torch

    flag = torch.tensor([int(answer)], device=_device(group))
    group.broadcast(flag, src=0)
    return bool(flag.item())


def gather_rows(
    vectors: np.ndarray | torch.Tensor,
    rows: Sequence[int] | np.ndarray | torch.Tensor,
    *,
    n_rows: int | None = None,
) -> np.ndarray | None:
    """Bring a probe set that is spread over processes together; all processes must call it.

    Args:
        vectors: (n_i, D) of this process, n_i may be 0; on any device.
        rows: n_i numbers of their examples, from 0. Of an example that several processes or
            batches hold (a DistributedSampler repeats some), the first vector counts.
        n_rows: how many examples there are; default one more than the largest number.

    Returns:
        (N, D) float32 in the order of the examples in the process of rank 0, None in the others.

    Raises:
        DataError: in every process, when one's vectors and rows do not fit each other or the
            others' vectors; in rank 0, when an example is missing or beyond `n_rows`.
    """
    own, numbers, problem = _check(vectors, rows)
    group = _running()
    if group is None:
        if problem:
            raise DataError(problem)
        return _in_order(own, numbers, n_rows)
    headers = _gather_headers(group, own, problem)
    counts = headers[:, 0]
    # An empty share has no width to be wrong.
    n_dims = max(int(width) for width in headers[:, 1])
    fits = [n == 0 or (n > 0 and width == n_dims) for n, width in headers]
    if not all(fits):
        raise DataError(problem or _misfit(headers))
    if not counts.any():
        raise DataError(_NOTHING)
    parts = _gather(group, _padded(own.reshape(len(own), n_dims), counts), counts)
    places = _gather(group, _padded(numbers, counts), counts)
    if parts is None or places is None:
        return None
    return _in_order(np.concatenate(parts), np.concatenate(places), n_rows)


def _running() -> Any:
    """Return torch.distributed where a process group is, else None; without importing torch."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed


def _device(group: Any) -> str:
    """Return where tensors of a collective must lie: NCCL takes none from the CPU."""
    return "cuda" if group.get_backend() == "nccl" else "cpu"


def _check(vectors: Any, rows: Any) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the vectors, the rows, and what is wrong with them ("" for nothing)."""
    try:
        own = np.asarray(_on_cpu(vectors), dtype=np.float32)
        numbers = np.asarray(_on_cpu(rows)).reshape(-1)
    except Exception as error:  # whatever it is, the others wait in the collective
        return np.empty((0, 0), np.float32), np.empty(0, np.int64), f"not numbers: {error}"
    problem = ""
    if own.ndim != 2:
        problem = f"vectors have the shape {own.shape}; expected (n, D), one row an example"
    elif len(own) != len(numbers):
        problem = f"there are {len(own)} vectors but {len(numbers)} rows; give one row a vector"
    elif len(numbers) and (numbers.dtype.kind not in "iu" or numbers.min() < 0):
        problem = f"rows are {numbers[:5].tolist()} ...; expected whole numbers from 0"
    return own, numbers if problem else numbers.astype(np.int64), problem


def _on_cpu(values: Any) -> Any:
    """Return a tensor's numbers as an array (bfloat16, which NumPy lacks, as float32)."""
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return values.float().numpy() if values.is_floating_point() else values.numpy()


def _gather_headers(group: Any, own: np.ndarray, problem: str) -> np.ndarray:
    """Return (world, 2) int64: each process's number of rows and width, in all processes."""
    import torch

    header = [_UNUSABLE, 0] if problem else [len(own), own.shape[1] if len(own) else 0]
    mine = torch.tensor(header, dtype=torch.int64, device=_device(group))
    everyone = [torch.empty_like(mine) for _ in range(group.get_world_size())]
    group.all_gather(everyone, mine)
    return np.asarray(torch.stack(everyone).cpu())


def _misfit(headers: np.ndarray) -> str:
    shares = (
        f"process {number}: {'unusable' if n == _UNUSABLE else f'({n}, {width})'}"
        for number, (n, width) in enumerate(headers.tolist())
    )
    return f"vectors of different processes do not fit together; {', '.join(shares)}"


def _padded(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the values with zeros to the longest share: a gather wants equal shapes."""
    padded = np.zeros((int(counts.max()), *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded


def _gather(group: Any, values: np.ndarray, counts: np.ndarray) -> list[np.ndarray] | None:
    """Return every process's values, without the padding, in rank 0."""
    import torch

    mine = torch.from_numpy(values).to(_device(group))
    everyone = [torch.empty_like(mine) for _ in counts] if group.get_rank() == 0 else None
    group.gather(mine, everyone, dst=0)
    if everyone is None:
        return None
    return [part.cpu().numpy()[:n] for part, n in zip(everyone, counts.tolist(), strict=True)]


def _in_order(vectors: np.ndarray, rows: np.ndarray, n_rows: int | None) -> np.ndarray:
    if not len(rows):
        raise DataError(_NOTHING)
    there, first = np.unique(rows, return_index=True)
    expected = int(there[-1]) + 1 if n_rows is None else n_rows
    if there[-1] >= expected:
        raise DataError(f"row {there[-1]} is beyond the {expected} examples; rows count from 0")
    gaps = np.flatnonzero(there != np.arange(len(there)))
    missing = int(gaps[0]) if len(gaps) else len(there)
    if missing < expected:
        raise DataError(
            f"no process gave a vector for example {missing} ({expected - len(there)} of "
            f"{expected} are missing); give each example to at least one process"
        )
    return np.ascontiguousarray(vectors[first])
