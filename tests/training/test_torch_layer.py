"""A forward hook records a layer, and the training does not notice."""

from __future__ import annotations

import random
import weakref
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from training.recorder_double import RecorderDouble, check_series, make_real

from projector_export.errors import DataError, OptionError
from projector_export.training.torch_layer import layer_vectors, record_layer, unwrap

PROBE = torch.tensor([[1.0, 2.0], [3.0, 5.0], [-1.0, 0.5]])
TRIPLED = [[3.0, 6.0], [9.0, 15.0], [-3.0, 1.5]]


class Times(nn.Module):
    """Multiplies, with a weight that can be told from its output."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


class Through(nn.Module):
    """A layer that gives what it gets: a layer whose output the test decides."""

    def forward(self, x: Any) -> Any:
        return x


def _tripling() -> nn.Sequential:
    return nn.Sequential(Times(3.0), nn.ReLU(inplace=True), nn.Dropout(0.9), Times(100.0))


def _giving(output: Any) -> nn.Module:
    """Return a model whose layer `gives` gives this for the two examples of any batch."""

    class Giver(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gives = Through()

        def forward(self, x: Any = None, **_: Any) -> Any:
            return self.gives(output)

    return Giver()


def test_a_named_layer_gives_its_output_row_for_row() -> None:
    """`layer` is a submodule's dotted name; what an in-place layer does next does not count."""
    model = nn.Sequential(Times(1.0), _tripling())
    np.testing.assert_array_equal(layer_vectors(model, "1.0", PROBE), TRIPLED)
    assert layer_vectors(model, "1.0", PROBE).dtype == np.float32


def test_a_function_gets_model_and_batch() -> None:
    """`layer` may be a function (model, batch) -> vectors, and gets the whole batch."""
    labels = torch.tensor([10.0, 20.0, 30.0])

    def last(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
        assert not model.training
        assert not torch.is_grad_enabled()
        return model[0](batch[0]) + batch[1][:, None]

    got = layer_vectors(_tripling(), last, [PROBE, labels])
    np.testing.assert_array_equal(got, [[13, 16], [29, 35], [27, 31.5]])


def test_permuting_the_probe_permutes_the_vectors() -> None:
    """Row i is example i."""
    order = [2, 0, 1]
    got = layer_vectors(_tripling(), "0", PROBE[order])
    np.testing.assert_array_equal(got, np.array(TRIPLED)[order])


@pytest.mark.parametrize(
    "batch",
    [
        PROBE,
        PROBE.numpy().astype(np.float64),
        (PROBE, torch.zeros(3)),
        [PROBE, "not for the model"],
        [(PROBE[:2], 0), (PROBE[2:], 1)],
        DataLoader(TensorDataset(PROBE, torch.zeros(3)), batch_size=2),
        {"input": PROBE, "labels": torch.zeros(3), "label_ids": 0, "label": 0},
        [{"input": PROBE[:1]}, {"input": PROBE[1:]}],
        ({"input": PROBE}, torch.zeros(3)),
    ],
    ids=["tensor", "array", "tuple", "list", "batches", "loader", "mapping", "mappings", "nested"],
)
def test_each_kind_of_batch_gives_the_same_rows(batch: Any) -> None:
    """One batch or a loader; the first of a tuple, a mapping as keywords without its labels."""
    np.testing.assert_array_equal(layer_vectors(_tripling(), "0", batch), TRIPLED)


def test_a_loader_is_read_again_at_each_step() -> None:
    """A loader's rows are concatenated in its order, at every step."""
    loader = DataLoader(TensorDataset(PROBE), batch_size=2)
    recorder = RecorderDouble()
    for step in range(2):
        record_layer(_tripling(), "0", recorder, loader, step=step)
    np.testing.assert_array_equal([recorder.steps[0], recorder.steps[1]], [TRIPLED, TRIPLED])


PICTURES = torch.arange(2 * 3 * 2 * 2, dtype=torch.float64).reshape(2, 3, 2, 2)
TOKENS = torch.tensor([[[1.0, 2], [3, 6], [5, 1]], [[0, 0], [9, 3], [float("nan"), 9]]])


class Output(dict[str, Any]):
    """As a Hugging Face ModelOutput is."""

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(self.values())


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (torch.tensor([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (torch.tensor([[1.5], [3]], dtype=torch.bfloat16), [[1.5], [3]]),
        (PICTURES, [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]),
        (TOKENS[:, :2], [[2, 4], [4.5, 1.5]]),
        ((torch.tensor([[7.0], [8]]), "state"), [[7], [8]]),
        (Output(last_hidden_state=TOKENS[:, :2], pooled=0), [[2, 4], [4.5, 1.5]]),
    ],
    ids=["vectors", "half", "pictures", "tokens", "tuple", "model-output"],
)
def test_each_shape_becomes_a_vector_an_example(output: Any, expected: Any) -> None:
    """(N, D) as it is; (N, C, H, W), mean over H, W; (N, T, D), mean over tokens; first of many."""
    np.testing.assert_array_equal(layer_vectors(_giving(output), "gives", PROBE[:2]), expected)


def test_padding_does_not_count() -> None:
    """With an `attention_mask`, the mean is over the tokens that it keeps."""
    batch = {"ids": PROBE[:2], "attention_mask": torch.tensor([[1, 0, 1], [1, 1, 0]])}
    got = layer_vectors(_giving(TOKENS), "gives", batch)
    np.testing.assert_array_equal(got, [[3, 1.5], [4.5, 1.5]])


def test_reduce_makes_vectors_of_anything() -> None:
    """`reduce=`: a function for any other output."""
    output = {"a": torch.ones(2, 1, 1, 1, 3)}
    got = layer_vectors(
        _giving(output), "gives", PROBE[:2], reduce=lambda out: out["a"].sum((1, 2, 3))
    )
    np.testing.assert_array_equal(got, [[1, 1, 1], [1, 1, 1]])


@pytest.mark.parametrize(
    ("output", "batch", "message"),
    [
        (torch.ones(2, 1, 1, 1, 3), PROBE[:2], r"gives \(2, 1, 1, 1, 3\); expected .* reduce="),
        (torch.ones(2), PROBE[:2], r"gives \(2,\); expected"),
        ({"a": 1}, PROBE[:2], "gives a dict; expected a tensor, .* reduce="),
        (torch.ones(6, 3), PROBE[:2], "gives 6 rows for 2 examples; .* first dimension"),
        (
            TOKENS,
            {"ids": PROBE[:2], "attention_mask": torch.ones(2, 2)},
            r"gives \(2, 3, 2\) but the mask is \(2, 2\)",
        ),
        (
            TOKENS,
            {"ids": PROBE[:2], "attention_mask": torch.tensor([[1, 1, 1], [0, 0, 0]])},
            "no token of row 1",
        ),
        (torch.ones(2, 3), TensorDataset(PROBE), "is a TensorDataset, .* DataLoader"),
        (torch.ones(2, 3), iter([]), "no batches; .* an iterator that was used once"),
        (torch.ones(2, 3), [[PROBE, PROBE], 3], "first element is no tensor; .* function"),
    ],
)
def test_what_cannot_be_shown_is_refused(output: Any, batch: Any, message: str) -> None:
    """A clear DataError otherwise; unknown input is not guessed."""
    with pytest.raises(DataError, match=message):
        layer_vectors(_giving(output), "gives", batch)


def test_reduce_must_give_rows() -> None:
    """(N, D) is what a recorder takes."""
    with pytest.raises(DataError, match=r"vectors are \(3,\); expected \(N, D\)"):
        layer_vectors(_tripling(), "0", PROBE, reduce=lambda out: out[:, 0])


@pytest.mark.parametrize("times", [0, 2])
def test_a_layer_must_run_once(times: int) -> None:
    """Which of several outputs is meant is not guessed."""

    class Repeats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Times(2.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(times):
                x = self.part(x)
            return x

    with pytest.raises(DataError, match=f"ran {times} times in one forward pass"):
        layer_vectors(Repeats(), "part", PROBE)


def test_a_wrong_name_has_close_ones() -> None:
    """A wrong layer name: OptionError with close matches, as the recorder decides."""
    model = nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(2, 2)), "head": nn.Linear(2, 2)})
    recorder = RecorderDouble(strict=False)
    record_layer(model, "encodr.0", recorder, PROBE, step=0)
    [error] = recorder.errors
    assert isinstance(error, OptionError)
    assert "ModuleDict has no layer 'encodr.0'; its layers are named like 'encoder.0'" in str(error)
    with pytest.raises(OptionError, match="encoder"):
        record_layer(model, "encodr.0", RecorderDouble(strict=True), PROBE, step=0)


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(TensorDataset(PROBE), shuffle=True),
        DataLoader(TensorDataset(PROBE), sampler=DistributedSampler(PROBE, 1, 0, shuffle=True)),
        DataLoader(TensorDataset(PROBE), sampler=DistributedSampler(PROBE, 2, 0, shuffle=False)),
    ],
)
def test_a_loader_whose_rows_change_is_refused(loader: Any) -> None:
    """Row i of every step is the same example."""
    with pytest.raises(OptionError, match=r"shuffle=False|gather_rows"):
        layer_vectors(_tripling(), "0", loader)


def test_nothing_runs_when_not_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder gets a callable: no forward pass when the step is not due, nor off rank 0."""
    recorder, ran = RecorderDouble(every=2), []
    for step in range(3):
        record_layer(nn.Identity(), lambda m, b: ran.append(0) or b, recorder, PROBE, step=step)
    monkeypatch.setenv("RANK", "1")
    record_layer(nn.Identity(), lambda m, b: ran.append(0) or b, recorder, PROBE, step=4)
    assert len(ran) == 2
    assert sorted(recorder.steps) == [0, 2]


class _Fails(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")


@pytest.mark.parametrize("fails", [False, True])
def test_hook_and_modes_are_as_before(fails: bool) -> None:
    """The hook removes itself also on errors; every module's own mode as it was."""
    model = nn.Sequential(Times(2.0), nn.BatchNorm1d(2), _Fails() if fails else nn.Dropout())
    model.train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recorder = RecorderDouble(strict=False)
    record_layer(model, "0", recorder, PROBE, step=0)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert not any(module._forward_hooks for module in model.modules())
    assert len(recorder.errors) == fails
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_module_that_works_in_train_is_left_alone() -> None:
    """Flags are set, not train() called: one that merges weights there would end up half merged."""

    class Merges(Times):
        def train(self, mode: bool = True) -> Merges:
            raise AssertionError("called")

    layer_vectors(Merges(2.0), "", PROBE)


def test_no_graph_and_no_output_is_kept_alive() -> None:
    """No gradients, nothing kept alive."""
    model, seen = _tripling(), []
    model[0].register_forward_hook(lambda _, __, output: seen.append(weakref.ref(output)))
    model[0].register_forward_hook(lambda _, __, output: seen.append(output.requires_grad))
    recorder = RecorderDouble()
    record_layer(model, "0", recorder, PROBE, step=0)
    assert seen[0]() is None
    assert seen[1] is False
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_a_model_keeps_can_still_be_trained_with() -> None:
    """A model may cache what it computes while recording, and must train with it afterwards."""

    class Caches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part, self.table = Times(2.0), None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.table is None:
                self.table = torch.arange(2.0) + 1
            return self.part(self.table) * x

    model = Caches()
    layer_vectors(model, "", PROBE)
    model(PROBE).sum().backward()
    assert model.part.factor.grad == 1 * 3 + 2 * 7.5


class _Augmented(torch.utils.data.Dataset[torch.Tensor]):
    """Examples that differ, drawing from each source of random numbers that augmentations use."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        if index >= 4:
            raise IndexError
        return torch.tensor([random.random(), np.random.rand()]) + torch.rand(2) + index


class _Drawing:
    """A loader that draws from its own generator, which may be the training's as well."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield torch.rand(3, 2, generator=self.generator)


def _train(recording: bool, *, shared: torch.Generator | None = None) -> list[torch.Tensor]:
    """Train with dropout, BatchNorm, augmentation and shuffling; return all weights."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    loader = DataLoader(_Augmented(), batch_size=2, shuffle=True, generator=shared)
    probe = _Drawing(shared) if shared else DataLoader(_Augmented(), batch_size=3)
    recorder = RecorderDouble()
    for step in range(4):
        if recording:
            record_layer(model, "2", recorder, probe, step=step)
        for batch in loader:
            optimizer.zero_grad()
            (model(batch) - batch).square().sum().backward()
            if recording:
                record_layer(model, "1", recorder, probe, step=step)
            optimizer.step()
    assert len(recorder.steps) == 4 * recording
    return [value.clone() for value in model.state_dict().values()]


@pytest.mark.parametrize("shares", [False, True])
def test_the_training_is_bit_for_bit_the_one_without(shares: bool) -> None:
    """Dropout, shuffling and augmentation draw the same numbers with and without recording."""
    made = [
        _train(recording, shared=torch.Generator().manual_seed(3) if shares else None)
        for recording in (False, True)
    ]
    for without, with_recording in zip(*made, strict=True):
        assert torch.equal(without, with_recording)


def test_wrapped_models_are_unwrapped() -> None:
    """Rank 0 alone can run the model within DataParallel, DDP or torch.compile."""
    model = _tripling()
    wrapped = nn.DataParallel(torch.compile(model, backend="eager"))
    assert unwrap(wrapped) is model
    np.testing.assert_array_equal(layer_vectors(wrapped, "0", PROBE), TRIPLED)


def test_compiled_layers_run_the_hook() -> None:
    """A compiled module ignores a hook that it gets later; recording runs it uncompiled, and has
    nothing compiled anew.
    """  # noqa: D205
    compiled: list[int] = []

    def backend(graph: Any, _: Any) -> Any:
        compiled.append(1)
        return graph.forward

    model = _tripling()
    for module in (model, model[0]):
        module.compile(backend=backend)
    model(PROBE)
    count = len(compiled)
    assert count > 0
    np.testing.assert_array_equal(layer_vectors(model, "0", PROBE), TRIPLED)
    model(PROBE)
    assert len(compiled) == count


def test_weights_that_are_spread_over_processes_are_refused() -> None:
    """A process cannot run a sharded model alone: it would wait for the others for ever."""

    class FullyShardedDataParallel(nn.Module):
        pass

    with pytest.raises(OptionError, match="compute the vectors in all processes"):
        layer_vectors(nn.Sequential(FullyShardedDataParallel()), "0", PROBE)
    model = nn.Linear(2, 2)
    model.weight.ds_id = 0  # how DeepSpeed marks what it has spread
    with pytest.raises(OptionError, match="compute the vectors in all processes"):
        layer_vectors(model, "", PROBE)


def test_floats_follow_a_half_precision_model() -> None:
    """The batch goes to the model's device, and into its precision where that is a half one."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False)).to(torch.bfloat16)
    nn.init.eye_(model[0].weight)
    np.testing.assert_array_equal(layer_vectors(model, "0", PROBE), PROBE.numpy())


def test_arrays_of_doubles_become_floats() -> None:
    """NumPy's floats are doubles, which a model of floats does not take."""
    model = nn.Linear(2, 2, bias=False)
    nn.init.eye_(model.weight)
    doubles = PROBE.numpy().astype(np.float64)
    np.testing.assert_array_equal(layer_vectors(model, "", doubles), PROBE.numpy())


@pytest.fixture
def on_meta() -> Iterator[nn.Module]:
    """A model on another device than the CPU, where no GPU is."""
    with torch.device("meta"):
        yield nn.Linear(2, 2)


def test_the_batch_goes_to_the_models_device(on_meta: nn.Module) -> None:
    """All tensors of a batch are moved, however nested; words are not."""
    pair = namedtuple("pair", ["word", "probe"])
    batch = {"x": PROBE, "more": [PROBE, ("word", PROBE)], "pair": pair("word", PROBE)}
    seen: list[Any] = []
    layer_vectors(on_meta, lambda _, one: seen.append(one) or np.ones((3, 1)), batch)
    [one] = seen
    assert one["x"].device.type == one["more"][0].device.type == "meta"
    assert one["more"][1][0] == "word"
    assert one["more"][1][1].device.type == "meta"
    assert (one["pair"].word, one["pair"].probe.device.type) == ("word", "meta")


def test_the_series_has_the_layers_vectors(tmp_path: Path) -> None:
    """`record_layer(model, layer, recorder, batch)`: each step on disk holds the layer's output."""
    probe = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    model, expected = Times(1.0), {}
    recorder = make_real(tmp_path, 20)
    for step in (0, 5):
        record_layer(model, "", recorder, probe, step=step)
        expected[step] = probe.numpy() * (1 if step == 0 else 2)
        model.factor.data += 1
    recorder.finish()
    check_series(tmp_path, expected)


def test_without_torch_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a library missing, the message names the extra."""
    import importlib
    import sys

    from projector_export.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "projector_export.training.torch_layer", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'projector-export\[training\]'"):
        importlib.import_module("projector_export.training.torch_layer")
