"""Train a small network on handwritten digits, and watch its hidden layer in TensorBoard.

tensorboard --logdir logs/examples          # before, during or after the training
python scripts/examples/train_digits.py [--log-dir logs/examples/digits] [--epochs 10]
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from projector_export import EmbeddingRecorder

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--log-dir", default="logs/examples/digits")
parser.add_argument("--epochs", type=int, default=10)
options = parser.parse_args()

digits = load_digits()
images = torch.tensor(digits.data / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)

torch.manual_seed(0)
encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
model = nn.Sequential(encoder, nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

writer = SummaryWriter(options.log_dir)
recorder = EmbeddingRecorder(
    writer,
    "hidden",
    labels=[f"digit {label}" for label in digits.target],
    images=digits.images / 16,
    thumbnail_px=16,
    when_busy="wait",  # an epoch of this toy is over before one step is recorded
)

for epoch in range(options.epochs):
    losses = []
    for batch in torch.randperm(len(images)).split(64):
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    writer.add_scalar("loss", sum(losses) / len(losses), epoch)
    recorder.record(lambda: encoder(images), epoch)

recorder.finish()
writer.close()
print(f"recorded epochs {recorder.recorded}; look at them: tensorboard --logdir {options.log_dir}")
