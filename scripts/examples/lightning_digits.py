"""Train on handwritten digits with PyTorch Lightning, and watch a layer in TensorBoard.

    python scripts/examples/lightning_digits.py [--log-dir logs/examples/lightning] [--epochs 5]

Needs the extra `lightning`.
"""

from __future__ import annotations

import argparse

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from projector_export import EmbeddingRecorder
from projector_export.training.lightning import EmbeddingCallback


class Digits(lightning.LightningModule):
    """A small convolutional network."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()
        )
        self.classify = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, 10) logits of (N, 1, 8, 8) images."""
        logits: torch.Tensor = self.classify(self.features(images).mean(dim=(2, 3)))
        return logits

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        loss = nn.functional.cross_entropy(self(images), labels)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.003)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--log-dir", default="logs/examples/lightning")
parser.add_argument("--epochs", type=int, default=5)
options = parser.parse_args()

lightning.seed_everything(0, verbose=False)
digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
loader = DataLoader(TensorDataset(images, torch.tensor(digits.target)), 64, shuffle=True)


def make_recorder(run_dir: str) -> EmbeddingRecorder:
    """Lightning knows the run's directory when the training starts."""
    return EmbeddingRecorder(
        run_dir, "features", labels=digits.target, images=images, thumbnail_px=16, when_busy="wait"
    )


trainer = lightning.Trainer(
    max_epochs=options.epochs,
    logger=TensorBoardLogger(options.log_dir, name=None),
    callbacks=[EmbeddingCallback("features", images, make_recorder)],
    accelerator="cpu",
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    log_every_n_steps=10,
)
trainer.fit(Digits(), loader)
print(f"look at them: tensorboard --logdir {options.log_dir}")
