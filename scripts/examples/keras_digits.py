"""Train on handwritten digits with Keras on the torch backend, and watch a layer in TensorBoard.

    python scripts/examples/keras_digits.py [--log-dir logs/examples/keras] [--epochs 5]

Needs the extra `keras`.
"""

from __future__ import annotations

import argparse
import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
from sklearn.datasets import load_digits

from projector_export import EmbeddingRecorder
from projector_export.training.keras import EmbeddingCallback

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--log-dir", default="logs/examples/keras")
parser.add_argument("--epochs", type=int, default=5)
options = parser.parse_args()

keras.utils.set_random_seed(0)
digits = load_digits()
pixels = (digits.data / 16).astype("float32")
model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(64, activation="relu", name="hidden"),
        keras.layers.Dense(10),
    ]
)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
recorder = EmbeddingRecorder(
    options.log_dir,
    "hidden",
    labels=digits.target,
    images=digits.images / 16,
    thumbnail_px=16,
    when_busy="wait",
)
model.fit(
    pixels,
    digits.target,
    batch_size=64,
    epochs=options.epochs,
    verbose=0,
    callbacks=[EmbeddingCallback("hidden", pixels, recorder)],
)
print(f"recorded epochs {recorder.recorded}; look at them: tensorboard --logdir {options.log_dir}")
