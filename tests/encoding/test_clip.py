"""open_clip models: the small one that ships, files of weights, and weights that cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from projector_export import EncodeSettings, OpenClipEncoder, encode, export, read_images
from projector_export.cli import main
from projector_export.encoding.zero_shot import ZeroShot, add_predictions
from projector_export.errors import EncoderError
from projector_export.points import Items
from projector_export.sources.digits import DIGIT_WORDS, split_digits, write_digit_images

open_clip = pytest.importorskip("open_clip")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def encoder() -> OpenClipEncoder:
    """The model that ships."""
    return OpenClipEncoder("digits_clip")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of all digits, in scikit-learn's order."""
    return write_digit_images(tmp_path_factory.mktemp("digits"))


def held_out_items(digits: list[Path]) -> Items:
    """The 30 % that the model has not seen."""
    words = [path.parent.name for path in digits]
    rows = split_digits(words).held_out
    columns = pl.DataFrame({"label": [words[r] for r in rows], "path": [str(r) for r in rows]})
    return Items(tuple(digits[r] for r in rows), columns, "held_out")


def test_zero_shot_accuracy_on_held_out_digits(
    encoder: OpenClipEncoder, digits: list[Path]
) -> None:
    """Zero-shot accuracy of digits_clip on the held-out digits >= 96 %, through our own path."""
    points = encode(held_out_items(digits), encoder)
    points = add_predictions(points, encoder, ZeroShot(DIGIT_WORDS, ["a photo of the digit {}"]))
    assert len(points) == 540
    accuracy = float((points.columns["predicted"] == points.columns["label"]).mean() or 0)
    print(f"zero-shot accuracy on {len(points)} held-out digits: {accuracy:.4f}")
    assert accuracy >= 0.96
    assert points.columns["agrees"].sum() == round(accuracy * 540)


def test_vectors_equal_open_clips_own(encoder: OpenClipEncoder, digits: list[Path]) -> None:
    """Unit-length float32, equal to open_clip called by hand, whatever the batch size."""
    import torch

    from projector_export.models import DIGITS_CLIP_DIR

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{DIGITS_CLIP_DIR}")
    model.eval()
    with torch.inference_mode():
        images = torch.stack([transform(Image.open(p).convert("RGB")) for p in digits[:20]])
        features = model.encode_image(images)
    expected = (features / features.norm(dim=1, keepdim=True)).numpy()
    columns = pl.DataFrame({"label": ["x"] * 20, "path": ["x"] * 20})
    for batch_size in (1, 7, 64):
        settings = EncodeSettings(batch_size=batch_size)
        points = encode(Items(tuple(digits[:20]), columns, "d"), encoder, settings=settings)
        assert points.vectors.dtype == np.float32
        # Scaling by torch rounds one value in some hundred to the next.
        np.testing.assert_allclose(points.vectors, expected, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(points.vectors, axis=1), 1, atol=1e-5)


def test_weights_from_a_file(tmp_path: Path) -> None:
    """--weights FILE: a file of random weights gives that very model's vectors."""
    import torch

    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms("RN50-quickgelu", pretrained=None)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    encoder = OpenClipEncoder("RN50-quickgelu", str(tmp_path / "weights.pt"), device="cpu")
    image = Image.effect_mandelbrot((300, 200), (-2, -1.5, 1, 1.5), 40).convert("RGB")
    got = encoder.encode([encoder.prepare(image)])
    with torch.inference_mode():
        own = model.eval().encode_image(transform(image)[None])
    np.testing.assert_allclose(got, (own / own.norm()).numpy(), atol=1e-5)
    assert encoder.describe()["weights"] == "weights.pt"
    assert len(encoder.describe()["weights_sha256"]) == 64


def test_weights_that_cannot_be_downloaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message, exit 1, nothing written: says to give --weights FILE."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr("open_clip.factory.download_pretrained", refuse)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (20, 20), (i, 0, 0)).save(folder / f"{i}.png")
    with pytest.raises(SystemExit) as done:
        main(["images", str(folder), str(tmp_path / "run")])
    assert done.value.code == 1
    said = capsys.readouterr().err
    assert "--weights FILE" in said
    assert "no route to the hub" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_a_tags_weights_are_known_by_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache's key of a downloaded tag is its file's SHA-256; the model is not built for it."""
    (tmp_path / "weights.bin").write_bytes(b"abc")
    asked = []

    def download(cfg: dict[str, object]) -> str:
        asked.append(cfg["hf_hub"])
        return str(tmp_path / "weights.bin")

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", download)
    encoder = OpenClipEncoder()
    assert encoder.cache_key["weights_sha256"].startswith("ba7816bf8f01cfea")  # SHA-256 of "abc"
    assert asked == ["laion/CLIP-ViT-B-32-laion2B-s34B-b79K/"]
    assert encoder._loaded is None


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("ViT-Z", None, "no model 'ViT-Z'"),
        ("ViT-B-16", None, "needs --weights"),
        ("ViT-B-32", "no_such_tag", "neither a file nor a tag"),
        ("digits_clip", "x.pt", "brings its own weights"),
    ],
)
def test_wrong_models_and_weights_are_refused(
    model: str, weights: str | None, message: str
) -> None:
    """Unknown input is refused, not guessed."""
    with pytest.raises(EncoderError, match=message):
        OpenClipEncoder(model, weights).load()


def test_an_unknown_device_is_named() -> None:
    """The device, not the weights, is at fault."""
    with pytest.raises(EncoderError, match="device 'nope' cannot be used"):
        OpenClipEncoder("digits_clip", device="nope").load()


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    """A file that does not fit is named."""
    import torch

    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(EncoderError, match=r"other\.pt does not hold weights for ViT-B-32"):
        OpenClipEncoder("ViT-B-32", str(tmp_path / "other.pt")).load()


def test_manifest_tells_the_encoder(
    tmp_path: Path, encoder: OpenClipEncoder, digits: list[Path]
) -> None:
    """manifest.json: encoder, weights' SHA-256, classes, prompts; no path of this machine."""
    folder = tmp_path / "some"
    for path in digits[:40]:
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / path.parent.name / path.name).write_bytes(path.read_bytes())
    export(read_images(folder), tmp_path / "run", encoder, zero_shot=ZeroShot(["one", "two"]))
    text = (tmp_path / "run/some/manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    assert manifest["encoder"]["model"] == "digits_clip"
    assert len(manifest["encoder"]["weights_sha256"]) == 64
    assert manifest["zero_shot"]["classes"] == ["one", "two"]
    assert str(tmp_path) not in text


def test_the_last_block_is_shortened_without_changing_vectors() -> None:
    """The class token alone goes through the last block: the same vectors up to rounding."""
    import torch

    from projector_export.encoding.class_token import use_class_token_only

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32", pretrained=None).eval()
    images = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        whole = model.encode_image(images, normalize=True)
        assert use_class_token_only(model, 224, "cpu")
        seen: list[tuple[int, ...]] = []
        mlp = model.visual.transformer.resblocks[-1].mlp
        mlp.register_forward_hook(lambda _, __, result: seen.append(tuple(result.shape)))
        short = model.encode_image(images, normalize=True)
    assert seen == [(3, 1, 768)]
    np.testing.assert_allclose(short.numpy(), whole.numpy(), atol=1e-5)


def test_models_of_another_build_are_left_alone() -> None:
    """A ResNet has no class token; a model that pools all tokens reads all of them."""
    import torch

    from projector_export.encoding.class_token import use_class_token_only

    assert not use_class_token_only(open_clip.create_model("RN50", pretrained=None), 224, "cpu")
    model = open_clip.create_model("ViT-B-32", pretrained=None).eval()
    model.visual.pool_type = "avg"
    assert not use_class_token_only(model, 224, "cpu")
    model.visual.pool_type = "tok"
    # Says that it reads the class token, but reads all: the check on a picture finds out.
    model.visual._global_pool = lambda x: (x.mean(dim=1), x)
    assert not use_class_token_only(model, 224, "cpu")
    with torch.inference_mode():
        assert torch.isfinite(model.encode_image(torch.randn(1, 3, 224, 224))).all()


def test_a_very_long_picture_takes_no_gigabytes(encoder: OpenClipEncoder) -> None:
    """Only its middle reaches the model: scaled whole, 1 x 60,000 px would be 9 GB for a ViT."""
    long = Image.new("RGB", (40_000, 2), (255, 0, 0))
    long.paste((0, 0, 255), (19_900, 0, 20_100, 2))
    prepared = encoder.prepare(long)
    assert prepared.shape == encoder.prepare(Image.new("RGB", (2, 2))).shape
    assert (
        prepared[0, 0].tolist()
        == encoder.prepare(Image.new("RGB", (2, 2), (0, 0, 255)))[0, 0].tolist()
    )
    assert encoder.prepare(long.transpose(Image.Transpose.ROTATE_90)).shape == prepared.shape


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    """weights_only: a file of weights that would run code is refused, without advice to run it."""
    import torch

    ran = tmp_path / "ran"
    torch.save({"a": Evil(str(ran))}, tmp_path / "evil.pt")
    with pytest.raises(EncoderError, match="more than tensors, which is never unpickled"):
        OpenClipEncoder("ViT-B-32", str(tmp_path / "evil.pt")).load()
    assert not ran.exists()


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (self.path, "w"))
