"""Many processes: one writes, and no row is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training.recorder_double import RecorderDouble, check_series

from projector_export.errors import DataError
from projector_export.training.distributed import from_rank_zero, gather_rows, rank

TESTS = Path(__file__).parents[1]
OPENING = """
import json, os, sys, warnings
from datetime import timedelta
from pathlib import Path
import numpy as np, torch, torch.distributed as dist
from projector_export.errors import DataError
from projector_export.training.distributed import from_rank_zero, gather_rows, rank
from training.recorder_double import RecorderDouble, make_real
warnings.simplefilter("error")
number, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=2,
                        timeout=timedelta(seconds=60))
assert rank() == number

def problem_of(*arguments, **options):
    try:
        gather_rows(*arguments, **options)
    except DataError as error:
        return str(error)

"""
CLOSING = """
outs = {}
for name, code in json.loads(sys.argv[3]).items():
    exec(code)
    outs[name] = out
dist.destroy_process_group()
(folder / f"{number}.json").write_text(json.dumps(outs))
# Not through the interpreter's end: gloo's threads outlive the group, and one that drops a tensor
# there aborts the process now and then (pytorch/pytorch#190489).
os._exit(0)
"""
Outs = dict[str, list[Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two processes meet and write."""
    return tmp_path_factory.mktemp("pair")


@pytest.fixture(scope="module")
def outs(folder: Path) -> Outs:
    """What the code of each test puts into `out`, in the two processes of one gloo group."""
    codes = json.dumps(
        {"spread": SPREAD, "shares": SHARES, "misfits": MISFITS, "one": ONE_RECORDS, "ddp": DDP}
    )
    environment = {name: value for name, value in os.environ.items() if "RANK" not in name}
    environment |= {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING + CLOSING, str(number), str(folder), codes],
            env=environment, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    try:
        for process in processes:
            _, said = process.communicate(timeout=200)
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()
    made = [json.loads((folder / f"{number}.json").read_text()) for number in range(2)]
    return {name: [one[name] for one in made] for name in made[0]}


SPREAD = """
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
examples = torch.arange(7)
data = TensorDataset(examples[:, None] * 10.0 + torch.tensor([0.0, 1.0]), examples)
sampler = DistributedSampler(data, 2, number, shuffle=True, seed=5)
assert len(sampler) == 4  # 8 of 7: one is repeated
vectors, rows = map(torch.cat, zip(*DataLoader(data, batch_size=3, sampler=sampler)))
results = [gather_rows(vectors.to(kind).requires_grad_(), rows)
           for kind in (torch.float64, torch.bfloat16)]
results.append(gather_rows(vectors.numpy(), rows.tolist(), n_rows=7))
out = [None if one is None else [one.tolist(), str(one.dtype)] for one in results]
"""


def test_a_spread_probe_set_comes_together(outs: Outs) -> None:
    """Every row there once and in order, though the sampler repeats one and shuffles; on rank 0."""
    first, second = outs["spread"]
    expected = [[0, 1], [10, 11], [20, 21], [30, 31], [40, 41], [50, 51], [60, 61]]
    assert first == [[expected, "float32"]] * 3
    assert second == [None] * 3


SHARES = """
mine = ([[1.0], [2.0], [3.0]], [2, 0, 1]) if number else ([], [])
results = [gather_rows(np.reshape(mine[0], (-1, 1)), mine[1])]
mine = ([[1.0], [2.0]], [0, 1]) if number else ([[5.0]], [1])
results.append(gather_rows(mine[0], mine[1]))
out = [None if one is None else one.tolist() for one in results]
"""


def test_shares_may_be_of_any_size(outs: Outs) -> None:
    """A process may hold nothing; of an example that both hold the first vector counts."""
    first, second = outs["shares"]
    assert first == [[[2], [3], [1]], [[1], [5]]]
    assert second == [None, None]


MISFITS = """
class Broken:
    def __array__(self, *arguments, **options):
        raise RuntimeError("gone from the device")

out = [
    problem_of(np.zeros((2, 3 + number)), [0, 1]),
    problem_of(np.zeros((2, 3)), [0] if number else [0, 1]),
    problem_of(np.zeros((2, 3)), [1.5, 2.5] if number else [0, 1]),
    problem_of("words" if number else np.zeros((1, 2)), [0]),
    problem_of(np.zeros((0, 3)), []),
    problem_of(np.zeros((2, 3)), [4, 5] if number else [0, 2]),
    problem_of(np.zeros((2, 3)), [number, number], n_rows=4),
    problem_of(np.zeros((2, 3)), [number, number + 1], n_rows=2),
    problem_of(np.zeros((1, 1)), [number]),
    problem_of(Broken() if number else np.zeros((1, 2)), [0]),
]
"""


def test_a_misfit_is_told_in_every_process(outs: Outs) -> None:
    """No process waits for ever for one that has raised; a missing row is named."""
    first, second = outs["misfits"]
    both = "vectors of different processes do not fit together; process 0: "
    assert first == [
        both + "(2, 3), process 1: (2, 4)",
        both + "(2, 3), process 1: unusable",
        both + "(2, 3), process 1: unusable",
        both + "(1, 2), process 1: unusable",
        "no process gave a vector; expected each example from at least one",
        "no process gave a vector for example 1 (2 of 6 are missing); "
        "give each example to at least one process",
        "no process gave a vector for example 2 (2 of 4 are missing); "
        "give each example to at least one process",
        "row 2 is beyond the 2 examples; rows count from 0",
        None,
        both + "(1, 2), process 1: unusable",
    ]
    assert second[0] == first[0]
    assert second[1] == "there are 2 vectors but 1 rows; give one row a vector"
    assert second[2] == "rows are [1.5, 2.5] ...; expected whole numbers from 0"
    assert second[3].startswith("not numbers: ")
    assert second[4] == first[4]
    assert second[5:9] == [None] * 4
    assert second[9] == "not numbers: gone from the device"


ONE_RECORDS = """
recorder = RecorderDouble(every=2)
for step in range(3):
    if from_rank_zero(recorder.is_due(step)):
        recorder.record(gather_rows([[number + step]], [number]), step)
out = [recorder.asked, {step: rows.tolist() for step, rows in recorder.steps.items()}]
"""


def test_one_process_records(outs: Outs) -> None:
    """Only rank 0 records, and its answer whether a step is due holds in all processes."""
    first, second = outs["one"]
    assert first == [[0, 2], {"0": [[0], [1]], "2": [[2], [3]]}]
    assert second == [[0, 2], {}]


DDP = """
from projector_export.training.torch_layer import record_layer
torch.manual_seed(number)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 3))
probe = torch.arange(32.0).reshape(16, 2)
recorder = make_real(folder / "run", 16)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
expected = {}
for step in range(2):
    record_layer(model, "", recorder, probe, step=step)
    expected[step] = model.module(probe).tolist()
    model(torch.randn(4, 2)).square().sum().backward()
    optimizer.step()
recorder.finish()
out = [expected, recorder.recorded]
"""


def test_one_process_writes_a_wrapped_model(outs: Outs, folder: Path) -> None:
    """One writer, no lost rows: DDP training, the recorder and the hook in both processes."""
    first, second = outs["ddp"]
    assert (first[1], second[1]) == ([0, 1], [])
    assert first[0] == second[0]
    steps = {int(step): np.array(rows) for step, rows in first[0].items()}
    check_series(folder / "run", steps)
    assert not list((folder / "run").glob("*_1"))


def test_one_process_alone_puts_rows_in_order() -> None:
    """Without a process group the same call works; permuting the examples permutes nothing."""
    vectors = np.array([[5.0, 1], [6, 2], [7, 3], [7, 3]])
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        got = gather_rows(vectors[order], np.array([1, 2, 0, 0])[order])
        np.testing.assert_array_equal(got, [[7, 3], [5, 1], [6, 2]])
    assert (from_rank_zero(True), from_rank_zero(False)) == (True, False)


@pytest.mark.parametrize(
    ("vectors", "rows", "message"),
    [
        ([1.0, 2.0], [0, 1], r"shape \(2,\); expected \(n, D\)"),
        ([[1.0], [2.0]], [0, -1], r"rows are \[0, -1\]"),
        ([[1.0], [2.0]], [0, 2], "for example 1 "),
        ([[1.0], [2.0]], [0, 10**12], "for example 1 .*999999999999 of 1000000000001"),
    ],
)
def test_one_process_alone_is_told_what_is_wrong(vectors: Any, rows: Any, message: str) -> None:
    """A missing row is a DataError that names it."""
    with pytest.raises(DataError, match=message):
        gather_rows(vectors, rows)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 0),
        ({"RANK": "3", "LOCAL_RANK": "0"}, 3),
        ({"RANK": "0", "LOCAL_RANK": "2"}, 0),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, 1),
        ({"LOCAL_RANK": "0", "NODE_RANK": "2"}, 2),
        ({"RANK": "", "LOCAL_RANK": "x"}, 0),
        ({"RANK": "none"}, 0),
    ],
)
def test_before_a_group_is_there_launchers_tell_the_rank(
    variables: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else env RANK, else 0; some launchers set LOCAL_RANK and NODE_RANK only."""
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert rank() == expected
    assert RecorderDouble().is_due(0) == (expected == 0)


def test_asking_for_the_rank_imports_no_torch() -> None:
    """`rank` never imports torch by itself."""
    code = (
        "import sys; from projector_export.training.distributed import gather_rows, rank; "
        "gather_rows([[1.0]], [rank()]); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=TESTS.parent)
