"""Zero-shot columns and the manifest's confusion table, by arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from projector_export import EncodeSettings, Items, OpenClipEncoder, Points, export
from projector_export.encoding.zero_shot import ZeroShot, add_predictions
from projector_export.errors import OptionError


class WordEncoder:
    """Arithmetic: class number c is the c-th axis."""

    logit_scale = 10.0

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[[int(t.split()[-1]) for t in texts]]


def test_zero_shot_columns_are_literal() -> None:
    """Predicted class, its softmax probability at the model's scale, and whether it agrees."""
    vectors = np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0.6, 0.8, 0, 0]])
    points = Points(vectors, pl.DataFrame({"label": ["0", "0", "elsewhere"]}))
    columns = add_predictions(
        points, WordEncoder(), ZeroShot(["0", "1"], ["a {}", "my {}"])
    ).columns
    assert columns["predicted"].to_list() == ["0", "1", "1"]
    assert columns["predicted_score"].to_list() == pytest.approx([0.9999546, 0.9999546, 0.880797])
    assert columns["agrees"].to_list() == [True, False, None]
    no_class = Points(vectors, pl.DataFrame({"label": ["x", "y", "z"]}))
    assert (
        "agrees"
        not in add_predictions(no_class, WordEncoder(), ZeroShot(["0", "1"])).columns.columns
    )


@pytest.mark.parametrize(
    ("classes", "prompts"), [(["a"], ["{}"]), (["a", "a"], ["{}"]), (["a", "b"], ["no place"])]
)
def test_malformed_classes_and_prompts_are_refused(classes: list[str], prompts: list[str]) -> None:
    """At least two different classes; one {} a prompt."""
    with pytest.raises(OptionError):
        ZeroShot(classes, prompts)


def test_margin_and_confusion_are_literal() -> None:
    """The margin is the score above the second; the table counts labels that are classes."""
    vectors = np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0.6, 0.8, 0, 0], [0, 1, 0, 0]])
    points = Points(vectors, pl.DataFrame({"label": ["0", "0", "elsewhere", "1"]}))
    points = add_predictions(points, WordEncoder(), ZeroShot(["0", "1"]))
    margins = points.columns["predicted_margin"].to_list()
    assert margins == pytest.approx([0.9999092, 0.9999092, 0.761594, 0.9999092])
    facts = points.origin["zero_shot"]
    assert facts["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert facts["confusion"] == {"0": {"0": 1, "1": 1}, "1": {"1": 1}}


def test_only_labelled_images_can_agree() -> None:
    """Captions and known-normal items have labels that are no answer."""
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 0, 1]]
    columns = pl.DataFrame(
        {
            "label": ["0", "0", "0", "0"],
            "kind": ["image", "image", "text", "image"],
            "known_normal": [False, False, False, True],
        }
    )
    points = add_predictions(Points(vectors, columns), WordEncoder(), ZeroShot(["0", "1"]))
    assert points.columns["agrees"].to_list() == [True, False, None, None]
    assert points.origin["zero_shot"]["accuracy"] == 0.5


def test_prompts_are_averaged_per_class() -> None:
    """The mean of the templates' vectors, at unit length."""

    class Prompted(WordEncoder):
        def encode_texts(self, texts: list[str]) -> np.ndarray:
            assert texts == ["a 0", "b 0", "a 1", "b 1"]
            axes = {"a 0": [1, 0, 0], "b 0": [0, 0, 1], "a 1": [0, 1, 0], "b 1": [0, 1, 0]}
            return np.float32([axes[text] for text in texts])

    points = Points(np.float32([[0.5, 0.6, 0.5], [1, 0, 0]]))
    columns = add_predictions(points, Prompted(), ZeroShot(["0", "1"], ["a {}", "b {}"])).columns
    # Class 0 is (1, 0, 1) / sqrt 2: cosines 0.7071 and 0.6.
    assert columns["predicted"].to_list() == ["0", "0"]
    assert columns["predicted_score"][0] == pytest.approx(1 / (1 + np.exp(6 - 10 * 0.5**0.5)))


def test_class_points_come_after_all_others() -> None:
    """`class_points`: each class's vector, as a point of the kind `class`, with its own tile."""
    vectors = np.eye(4, dtype=np.float32)
    thumbnails = np.zeros((4, 6, 6, 4), np.uint8)
    points = Points(vectors, pl.DataFrame({"label": ["0", "1", "0", "1"]}), "p", thumbnails)
    points = add_predictions(points, WordEncoder(), ZeroShot(["0", "1"], class_points=True))
    assert points.columns["kind"].to_list() == ["image"] * 4 + ["class"] * 2
    assert points.columns["label"].to_list()[4:] == ["0", "1"]
    assert points.vectors[4:].tolist() == vectors[:2].tolist()
    assert points.columns["predicted_score"].to_list()[4:] == [None, None]
    assert points.thumbnails is not None
    assert points.thumbnails[:4].max() == 0
    assert points.thumbnails[5, 0, 0].tolist() == [255] * 4


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        (["アジ", "サバ"], True),
        (["Ä", "naïve Größe"], False),
        (["horse mackerel", "кот"], True),
        (["Ｃａｔ", "1-2_3"], False),
    ],
)
def test_scripts_that_an_english_tower_cannot_read_are_told(names: list[str], warned: bool) -> None:
    """A warning that names a multilingual model; none for such a model."""

    class Tower(WordEncoder):
        is_multilingual = False

        def encode_texts(self, texts: list[str]) -> np.ndarray:
            assert texts == [f"a photo of a {name}" for name in names], "unchanged to the tokenizer"
            return np.eye(4, dtype=np.float32)[: len(texts)]

    points = add_predictions(Points(np.eye(4, dtype=np.float32)), Tower(), ZeroShot(names))
    notes = "".join(points.origin["notes"])
    assert ("xlm-roberta-base-ViT-B-32 --weights laion5b_s13b_b90k" in notes) is warned
    Tower.is_multilingual = True
    points = add_predictions(Points(np.eye(4, dtype=np.float32)), Tower(), ZeroShot(names))
    assert "multilingual" not in "".join(points.origin["notes"])


def test_which_models_are_multilingual() -> None:
    """digits_clip and plain ViT-B-32 are not; the model that the warning names exists."""
    open_clip = pytest.importorskip("open_clip")
    assert OpenClipEncoder("digits_clip").is_multilingual is False
    assert "laion5b_s13b_b90k" in open_clip.list_pretrained_tags_by_model(
        "xlm-roberta-base-ViT-B-32"
    )


def test_export_with_classes_as_points(tmp_path: Path) -> None:
    """End to end: the plugin shows the classes too, in a view of their own."""

    class Both(WordEncoder):
        def prepare(self, image: Image.Image) -> int:
            return int(np.asarray(image)[0, 0, 0])

        def encode(self, prepared: list[int]) -> np.ndarray:
            return np.eye(4, dtype=np.float32)[np.array(prepared) % 2]

        def describe(self) -> dict[str, str]:
            return {"encoder": "both"}

    paths = []
    for item in range(30):
        paths.append(tmp_path / f"{item}.png")
        Image.new("RGB", (4, 4), (item, 0, 0)).save(paths[-1])
    columns = pl.DataFrame({"label": [str(i % 2) for i in range(30)]})
    items = Items(tuple(paths), columns, "p")
    result = export(
        items, tmp_path / "run", Both(), zero_shot=ZeroShot(["0", "1"], class_points=True),
        encode_settings=EncodeSettings(thumbnail_px=8),
    )  # fmt: skip
    assert result.points == 32
    assert "UMAP 3D by kind" in result.facts["views"]
    assert result.facts["zero_shot"]["accuracy"] == 1
