"""Train `digits_clip`, the small CLIP model that ships with the package, and print its figures.

    python scripts/train_digits_clip.py [--out DIR]

Needs the `clip` extra. Trains on the 70 % split of scikit-learn's digits only. One thread and
fixed seeds: the same library versions on the same kind of processor give the same file.
"""

import argparse
import hashlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from projector_export.models import DIGITS_CLIP_DIR
from projector_export.sources.digits import DIGIT_WORDS, render_digit, split_digits

MODEL_CFG: Final[dict[str, Any]] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 64,
        "head_width": 16,
        "patch_size": 4,
        "pool_type": "avg",
        "pos_embed_type": "sin_cos_2d",
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
}

PROMPT: Final = "a photo of the digit {}"
CAPTIONS: Final = (
    PROMPT,
    "a photo of the number {}",
    "a photo of a handwritten {}",
    "a photo of a {}",
    "a photo of {}",
    "a picture of the digit {}",
    "an image of the number {}",
    "a handwritten digit {}",
    "a handwritten {}",
    "the digit {}",
    "the number {}",
    "{}",
)
NUMERALS: Final = tuple("0123456789")

SEED: Final = 0
EPOCHS: Final = 40
BATCH: Final = 64
LEARNING_RATE: Final = 2e-3
WEIGHT_DECAY: Final = 0.05
WARM_UP: Final = 0.1
PATCH_DROPOUT: Final = 0.25  # in training only, so not in MODEL_CFG

MAX_TURN_DEG: Final = 8.0
MAX_SCALE: Final = 0.08
MAX_SHIFT: Final = 0.06  # of the image's side


class Figures(NamedTuple):
    """What the written files reach on the held-out images."""

    zero_shot_words: float
    zero_shot_numerals: float
    neighbour_accuracy: float
    silhouette: float


def preprocess_cfg(images: Sequence[Any]) -> dict[str, Any]:
    """Preprocessing for open_clip's config file, with the grey levels of the given images.

    Args:
        images: PIL images of mode "L" and one size; only training images, so that nothing of
            the held-out part enters the model.
    """
    grey = np.stack([np.asarray(image) for image in images]) / 255
    return {
        "mean": [round(float(grey.mean()), 4)] * 3,
        "std": [round(float(grey.std()), 4)] * 3,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }


def augment(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale and shift each image a little.

    Args:
        images: (B, 3, 32, 32) float32, preprocessed.
        black: (3, 1, 1), the preprocessed value of black, which fills what comes into view.
        generator: source of the randomness.

    Returns:
        (B, 3, 32, 32) float32.
    """
    spread = torch.rand(len(images), 5, generator=generator) * 2 - 1
    angle = spread[:, 0] * math.radians(MAX_TURN_DEG)
    width, height = (1 + spread[:, 1:3] * MAX_SCALE).unbind(1)
    across, down = (spread[:, 3:5] * MAX_SHIFT * 2).unbind(1)  # the grid runs from -1 to 1
    first_row = torch.stack([width * angle.cos(), -height * angle.sin(), across], dim=1)
    second_row = torch.stack([width * angle.sin(), height * angle.cos(), down], dim=1)
    grid = affine_grid(
        torch.stack([first_row, second_row], dim=1), list(images.shape), align_corners=False
    )
    # grid_sample fills with zeros, so black has to be zero while it runs.
    return grid_sample(images - black, grid, align_corners=False) + black


def class_aware_loss(image: Tensor, text: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric loss where all of a digit's captions and images belong together.

    Plain CLIP takes only an image's own caption as right, which is wrong where a batch holds a
    digit more than once; here every caption of the digit is (UniCL,
    https://arxiv.org/abs/2204.03610). The last term does the same between images (SupCon,
    https://arxiv.org/abs/2004.11362), for tighter groups.

    Args:
        image: (B, D) unit-length image vectors.
        text: (B, D) unit-length caption vectors; row i describes image i.
        labels: (B,) digits.
        scale: factor on the cosines.

    Returns:
        The loss, shape ().
    """
    same = (labels[:, None] == labels[None, :]).float()
    others = same.clone().fill_diagonal_(0)
    between = scale * image @ text.T
    # Finite, since a target of 0 times infinity would be NaN.
    among = (scale * image @ image.T).fill_diagonal_(-1e9)
    captions = same / same.sum(dim=1, keepdim=True)
    siblings = others / others.sum(dim=1, keepdim=True).clamp(min=1)
    return (
        cross_entropy(between, captions) / 2
        + cross_entropy(between.T, captions) / 2
        + cross_entropy(among, siblings)
    )


def tokenize_captions() -> Tensor:
    """Token ids of every caption, with the word and the numeral: (digit, caption, context)."""
    tokenizer = open_clip.SimpleTokenizer(context_length=MODEL_CFG["text_cfg"]["context_length"])
    return torch.stack(
        [
            tokenizer([caption.format(name) for caption in CAPTIONS for name in names])
            for names in zip(DIGIT_WORDS, NUMERALS, strict=True)
        ]
    )


def train(images: Tensor, labels: Tensor, black: Tensor) -> open_clip.CLIP:
    """Train from scratch.

    Args:
        images: (N, 3, 32, 32) float32, preprocessed.
        labels: (N,) digits.
        black: (3, 1, 1), the preprocessed value of black.

    Returns:
        The model, float32, in evaluation mode.
    """
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums split over threads would round differently elsewhere
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)

    tokens = tokenize_captions()
    vision_cfg = MODEL_CFG["vision_cfg"] | {"patch_dropout": PATCH_DROPOUT}
    model = open_clip.CLIP(**MODEL_CFG | {"vision_cfg": vision_cfg})
    forget_unused_words(model, tokens)
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP, cycle_momentum=False
    )
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for rows in order[: len(order) // BATCH * BATCH].split(BATCH):
            caption = torch.randint(tokens.shape[1], (BATCH,), generator=generator)
            image, text, scale = model(
                augment(images[rows], black, generator), tokens[labels[rows], caption]
            )
            loss = class_aware_loss(image, text, labels[rows], scale)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def forget_unused_words(model: open_clip.CLIP, tokens: Tensor) -> None:
    """Set the embedding of every token that no caption uses to zero, in place.

    They would stay random: noise in prompts with such words, and megabytes that do not compress.

    Args:
        model: an open_clip CLIP model.
        tokens: (..., context) token ids of all captions.
    """
    unused = torch.ones(model.vocab_size, dtype=torch.bool)
    unused[tokens.unique()] = False
    with torch.no_grad():
        model.token_embedding.weight[unused] = 0


def write_model(model: open_clip.CLIP, preprocess: dict[str, Any], out: Path) -> None:
    """Write the two files of open_clip's `local-dir:` schema, weights as float16."""
    out.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": preprocess}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    halves = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(halves, out / "open_clip_model.safetensors", metadata={"format": "pt"})


def measure(folder: Path, images: Sequence[Any], labels: NDArray[Any]) -> Figures:
    """Load the written files as a user would and test them.

    Args:
        folder: a folder that `write_model` wrote.
        images: N held-out PIL images.
        labels: (N,) their digits.

    Returns:
        Shares of 0 to 1; neighbours and silhouette among the held-out vectors only.
    """
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    with torch.no_grad():
        pixels = torch.stack([preprocess(image) for image in images])
        vectors = model.encode_image(pixels, normalize=True).numpy()

    def zero_shot(names: Sequence[str]) -> float:
        with torch.no_grad():
            tokens = tokenizer([PROMPT.format(name) for name in names])
            texts = model.encode_text(tokens, normalize=True).numpy()
        return float(np.mean((vectors @ texts.T).argmax(axis=1) == labels))

    # Without an argument, kneighbors leaves each point out of its own neighbours.
    nearest = NearestNeighbors(n_neighbors=15).fit(vectors).kneighbors()[1]
    votes = [np.bincount(labels[row]).argmax() for row in nearest]
    return Figures(
        zero_shot_words=zero_shot(DIGIT_WORDS),
        zero_shot_numerals=zero_shot(NUMERALS),
        neighbour_accuracy=float(np.mean(np.array(votes) == labels)),
        silhouette=float(silhouette_score(vectors, labels, metric="cosine")),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Train, write and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=DIGITS_CLIP_DIR, metavar="DIR")
    out: Path = parser.parse_args(argv).out

    digits = load_digits()
    split = split_digits(digits.target)
    rendered = [render_digit(pixels) for pixels in digits.images]
    train_images = [rendered[row] for row in split.train]
    preprocess = preprocess_cfg(train_images)
    size = MODEL_CFG["vision_cfg"]["image_size"]
    transform = image_transform_v2(PreprocessCfg(size=size, **preprocess), is_train=False)
    black = -torch.tensor(preprocess["mean"]) / torch.tensor(preprocess["std"])

    started = time.perf_counter()
    model = train(
        torch.stack([transform(image) for image in train_images]),
        torch.from_numpy(digits.target[split.train]),
        black.view(3, 1, 1),
    )
    seconds = time.perf_counter() - started
    write_model(model, preprocess, out)

    held_out = [rendered[row] for row in split.held_out]
    figures = measure(out, held_out, digits.target[split.held_out])
    print(f"trained on {len(train_images)} images in {seconds:.0f} s, held out {len(held_out)}")
    for name, value in figures._asdict().items():
        print(f"{name:20s} {value:.4f}")
    for path in (out / "open_clip_config.json", out / "open_clip_model.safetensors"):
        content = path.read_bytes()
        print(f"{path.name}  {len(content)} bytes  sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
