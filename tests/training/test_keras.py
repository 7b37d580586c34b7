"""The callback of Keras 3 on the torch backend, with the real library."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import need
from torch.utils.data import DataLoader, TensorDataset
from training.recorder_double import RecorderDouble, check_series, make_real

from projector_export.errors import MissingExtraError, OptionError

N = 12
X = np.random.default_rng(2).normal(size=(N, 3)).astype(np.float32)
Y = np.arange(N) % 2


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The library, on the torch backend; it writes its configuration on import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        need("keras")
        return importlib.import_module("keras")


def _model(keras: Any) -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Dense(4, activation="relu", name="features"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5),
            layers.Dense(2, name="head"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss)
    return model


def _train(model: Any, callbacks: list[Any], **options: Any) -> None:
    """Train two epochs of three batches."""
    model.fit(X, Y, batch_size=4, epochs=2, callbacks=callbacks, verbose=0, **options)


def _weights(of: Any) -> list[np.ndarray]:
    return [variable.value.detach().numpy().copy() for variable in of.weights]


def _vectors(model: Any) -> np.ndarray:
    kernel, bias = _weights(model.get_layer("features"))
    return np.maximum(X @ kernel + bias, 0)


def test_epochs_count_from_0(keras: Any) -> None:
    """Step = epoch number as Keras' own TensorBoard callback counts; then finish."""
    from projector_export.training.keras import EmbeddingCallback

    model, recorder = _model(keras), RecorderDouble()
    _train(model, [EmbeddingCallback("features", X, recorder)])
    assert recorder.asked == [0, 1]
    assert recorder.finished == ["classes"]
    np.testing.assert_allclose(recorder.steps[1], _vectors(model), atol=1e-6)
    assert np.abs(recorder.steps[1] - recorder.steps[0]).max() > 0.01
    _train(model, [EmbeddingCallback("features", X, recorder)], initial_epoch=1)
    assert recorder.asked == [0, 1, 1]


def test_batches_count_from_the_untrained_model(keras: Any) -> None:
    """Or batch count: 0 before the first, and going on in a second `fit`."""
    from projector_export.training.keras import EmbeddingCallback

    model, recorder = _model(keras), RecorderDouble()
    model.build((None, 3))
    untrained = _vectors(model)
    callback = EmbeddingCallback("features", X, recorder, when="step")
    _train(model, [callback])
    assert recorder.asked == [0, 1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(recorder.steps[0], untrained, atol=1e-6)
    _train(model, [callback])
    assert recorder.asked[7:] == [6, 7, 8, 9, 10, 11, 12]
    np.testing.assert_allclose(recorder.steps[12], _vectors(model), atol=1e-6)


def test_the_training_is_the_one_without(keras: Any) -> None:
    """Dropout, BatchNormalization and shuffling are as without recording."""
    from projector_export.training.keras import EmbeddingCallback

    weights = []
    for recording in (False, True):
        model, loader = _model(keras), DataLoader(TensorDataset(torch.tensor(X)), batch_size=5)
        callback = EmbeddingCallback("norm", loader, RecorderDouble(), when="step")
        _train(model, [callback] if recording else [])
        weights.append(_weights(model))
    for without, with_recording in zip(*weights, strict=True):
        np.testing.assert_array_equal(without, with_recording)


@pytest.mark.parametrize("kind", ["tensor", "pair", "batches", "dataset", "function"])
def test_each_kind_of_batch_gives_the_same_rows(keras: Any, kind: str) -> None:
    """One batch or a loader, concatenated in its order; or a function (model, batch)."""
    from projector_export.training.keras import EmbeddingCallback

    class Batches(keras.utils.PyDataset):  # type: ignore[name-defined, misc]
        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> Any:
            return X[number * 4 : number * 4 + 4], Y[number * 4 : number * 4 + 4]

    batch = {
        "tensor": torch.tensor(X),
        "pair": (X, Y),
        "batches": [(X[:5], Y[:5]), (X[5:], Y[5:])],
        "dataset": Batches(),
        "function": X,
    }[kind]
    layer: Any = "features"
    if kind == "function":
        layer = lambda model, one: model.get_layer("features")(one)  # noqa: E731
    model, recorder = _model(keras), RecorderDouble()
    _train(model, [EmbeddingCallback(layer, batch, recorder)])
    np.testing.assert_allclose(recorder.steps[1], _vectors(model), atol=1e-6)


def test_pictures_and_tokens_become_vectors(keras: Any) -> None:
    """The mean over a picture by the layer's data_format; over tokens without the masked ones."""
    from projector_export.training.keras import EmbeddingCallback

    pictures = np.arange(2 * 2 * 2 * 3, dtype=np.float32).reshape(2, 2, 2, 3)
    words = np.array([[1, 2, 0], [3, 0, 0]])
    layers = keras.layers
    picture, word = keras.Input((2, 2, 3), name="picture"), keras.Input((3,), name="word")
    turned = layers.Permute((3, 1, 2))(picture)
    outputs = [
        layers.AveragePooling2D(1, name="last", data_format="channels_last")(picture),
        layers.AveragePooling2D(1, name="first", data_format="channels_first")(turned),
        layers.Embedding(4, 2, mask_zero=True, name="embed")(word),
    ]
    model = keras.Model({"picture": picture, "word": word}, outputs)
    model.get_layer("embed").embeddings.assign([[9, 9], [1, 2], [3, 6], [5, 7]])
    expected = {
        "last": [[4.5, 5.5, 6.5], [16.5, 17.5, 18.5]],
        "first": [[4.5, 5.5, 6.5], [16.5, 17.5, 18.5]],
        "embed": [[2, 4], [5, 7]],
    }
    for name, vectors in expected.items():
        recorder = RecorderDouble()
        callback = EmbeddingCallback(name, {"picture": pictures, "word": words}, recorder)
        callback.set_model(model)
        callback.on_train_begin()
        callback.on_epoch_end(0)
        np.testing.assert_array_equal(recorder.steps[0], vectors)


@pytest.mark.parametrize("when", ["epoch", "step"])
def test_a_wrong_layer_is_told_at_the_start(keras: Any, when: Any) -> None:
    """The recorder's rule decides: training goes on, or strict raises before the first batch."""
    from projector_export.training.keras import EmbeddingCallback

    lax, strict = RecorderDouble(strict=False), RecorderDouble(strict=True)
    _train(_model(keras), [EmbeddingCallback("feature", X, lax, when=when)])
    assert lax.asked == ([0, 0, 1] if when == "epoch" else [0, 1, 2, 3, 4, 5, 6])
    assert "Sequential has no layer 'feature'; its layers are named like 'features'" in str(
        lax.errors[0]
    )
    model = _model(keras)
    with pytest.raises(OptionError, match="no layer 'feature'"):
        _train(model, [EmbeddingCallback("feature", X, strict, when=when)])
    assert int(model.optimizer.iterations.value) == 0
    with pytest.raises(OptionError, match="when is 'batch'"):
        EmbeddingCallback("features", X, lax, when="batch")  # type: ignore[arg-type]


def test_a_subclassed_model_needs_a_function(keras: Any) -> None:
    """A layer's output is known in functional and sequential models only."""
    from projector_export.training.keras import EmbeddingCallback

    class Own(keras.Model):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.part = keras.layers.Dense(2, name="part")

        def call(self, x: Any) -> Any:
            return self.part(x)

    model, recorder = Own(), RecorderDouble(strict=False)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    _train(model, [EmbeddingCallback("part", X, recorder)])
    assert "give the layer as a function (model, batch) -> vectors" in str(recorder.errors[0])


def test_the_series_has_the_models_vectors(keras: Any, tmp_path: Path) -> None:
    """Each step on disk holds what the layer gave, reduced."""
    from projector_export.training.keras import EmbeddingCallback

    seen, recorder = RecorderDouble(), make_real(tmp_path, N)
    callbacks = [
        EmbeddingCallback("norm", X, one, reduce=lambda output: output[:, :3])
        for one in (recorder, seen)
    ]
    _train(_model(keras), callbacks)
    assert seen.steps[1].shape == (N, 3)
    check_series(tmp_path, seen.steps)


def test_another_backend_is_named(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another backend is running: OptionError naming it."""
    from projector_export.training.keras import EmbeddingCallback

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(OptionError, match=r"Keras runs on 'jax'; .*KERAS_BACKEND"):
        EmbeddingCallback("features", X, RecorderDouble())


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a library missing, the message names the extra."""
    monkeypatch.setitem(sys.modules, "projector_export.training.keras", None)
    del sys.modules[
        "projector_export.training.keras"
    ]  # imported anew, and as it was after the test
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'projector-export\[keras\]'"):
        importlib.import_module("projector_export.training.keras")
