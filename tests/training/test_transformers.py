"""The callback of Hugging Face's Trainer, with the real library and a tiny BERT."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import need
from training.recorder_double import RecorderDouble, check_series, make_real

from projector_export.errors import MissingExtraError, OptionError

N = 12


@pytest.fixture(scope="module")
def hf() -> Any:
    """The library."""
    need("transformers")
    return importlib.import_module("transformers")


def _batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 50, (N, 6), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[::2, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(N) % 2}


def _model(hf: Any) -> Any:
    torch.manual_seed(0)
    config = hf.BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=8,
    )  # fmt: skip
    return hf.BertForSequenceClassification(config)


def _train(hf: Any, model: Any, folder: Path, callbacks: list[Any], **options: Any) -> None:
    """Train two epochs of three steps; options go to the arguments."""
    batch = _batch()
    rows = [{name: values[row] for name, values in batch.items()} for row in range(N)]
    arguments = hf.TrainingArguments(
        output_dir=str(folder / "hf"), num_train_epochs=2, per_device_train_batch_size=4,
        learning_rate=0.01, report_to=[], save_strategy="no", logging_strategy="no",
        disable_tqdm=True, use_cpu=True, seed=1, **options,
    )  # fmt: skip
    trainer = hf.Trainer(model, arguments, train_dataset=rows, callbacks=callbacks)
    trainer.train()


def _vectors(model: Any) -> np.ndarray:
    """Return the mean over unmasked tokens of the first layer, computed directly."""
    batch = _batch()
    was = model.training
    model.eval()
    with torch.no_grad():
        embedded = model.bert.embeddings(batch["input_ids"])
        hidden = model.bert(
            batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
        ).hidden_states
    model.train(was)
    assert torch.equal(hidden[0], embedded)
    tokens, mask = hidden[1].numpy(), batch["attention_mask"].numpy()
    return np.stack([one[keep == 1].mean(0) for one, keep in zip(tokens, mask, strict=True)])


@pytest.mark.parametrize(
    ("when", "every", "steps"), [("epoch", 1, [0, 3, 6]), ("step", 2, [0, 2, 4, 6])]
)
def test_the_trainer_records_at_its_global_step(
    hf: Any, tmp_path: Path, when: Any, every: int, steps: list[int]
) -> None:
    """At the start and after each epoch or step, at state.global_step; finish at the end."""
    from projector_export.training.transformers import EmbeddingCallback

    model, recorder = _model(hf), RecorderDouble(every=every)
    untrained = _vectors(model)
    callback = EmbeddingCallback("bert.encoder.layer.0", _batch(), recorder, when=when)
    _train(hf, model, tmp_path, [callback])
    if when == "step":
        assert recorder.asked == [0, 1, 2, 3, 4, 5, 6]
    assert sorted(recorder.steps) == steps
    assert recorder.finished == ["classes"]
    np.testing.assert_allclose(recorder.steps[0], untrained, atol=1e-6)
    np.testing.assert_allclose(recorder.steps[6], _vectors(model), atol=1e-6)
    assert np.abs(recorder.steps[6] - untrained).max() > 0.01


def test_the_training_is_the_one_without(hf: Any, tmp_path: Path) -> None:
    """Dropout and shuffling draw the same numbers with and without recording."""
    from projector_export.training.transformers import EmbeddingCallback

    weights = []
    for recording in (False, True):
        model = _model(hf)
        loader = [_batch(), _batch()]
        callback = EmbeddingCallback("bert.pooler", loader, RecorderDouble(), when="step")
        _train(hf, model, tmp_path, [callback] if recording else [])
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_a_wrong_layer_is_told_at_the_start(hf: Any, tmp_path: Path) -> None:
    """The recorder's rule decides: training goes on, or strict raises before the first step."""
    from projector_export.training.transformers import EmbeddingCallback

    lax, strict = RecorderDouble(strict=False), RecorderDouble(strict=True)
    _train(hf, _model(hf), tmp_path, [EmbeddingCallback("bert.poler", _batch(), lax)])
    assert lax.asked == [0, 3, 6]
    assert "'bert.pooler'" in str(lax.errors[0])
    with pytest.raises(OptionError, match=r"no layer 'bert\.poler'"):
        _train(hf, _model(hf), tmp_path, [EmbeddingCallback("bert.poler", _batch(), strict)])
    assert strict.asked == [0]
    with pytest.raises(OptionError, match="when is 'batch'"):
        EmbeddingCallback("bert", _batch(), lax, when="batch")  # type: ignore[arg-type]


def test_the_series_has_the_trainers_vectors(hf: Any, tmp_path: Path) -> None:
    """Each step on disk holds what the layer gave, by a function and reduced."""
    from projector_export.training.transformers import EmbeddingCallback

    model, seen = _model(hf), RecorderDouble()
    recorder = make_real(tmp_path / "run", N)
    callbacks = [
        EmbeddingCallback(
            "bert.encoder", _batch(), one, reduce=lambda output: output.last_hidden_state[:, 0]
        )
        for one in (recorder, seen)
    ]
    _train(hf, model, tmp_path, callbacks)
    assert sorted(seen.steps) == [0, 3, 6]
    check_series(tmp_path / "run", seen.steps)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a library missing, the message names the extra."""
    monkeypatch.setitem(sys.modules, "projector_export.training.transformers", None)
    del sys.modules[
        "projector_export.training.transformers"
    ]  # imported anew, and as it was after the test
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'projector-export\[transformers\]'"):
        importlib.import_module("projector_export.training.transformers")
