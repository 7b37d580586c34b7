"""What a recorder is told of its examples: every form becomes the same rows, in the same order."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from projector_export.errors import DataError, InputNotFoundError
from projector_export.training.examples import Examples, as_array, read_examples


def _read(*, labels: Any = None, images: Any = None, metadata: Any = None) -> Examples:
    return read_examples(labels=labels, images=images, metadata=metadata, thumbnail_px=8)


class _Frame:
    """What of a pandas table is used: `columns`, and `to_dict("list")`."""

    def __init__(self, content: dict[Any, list[Any]]) -> None:
        self.columns = list(content)
        self._content = content

    def to_dict(self, orient: str) -> dict[Any, list[Any]]:
        assert orient == "list"
        return self._content


# Labels and metadata


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "c"], ["b", "a", "c"]),
        (("b", "a", "c"), ["b", "a", "c"]),
        ([3, 1, 2], [3, 1, 2]),
        ([True, False, True], [True, False, True]),
        ([1, None, 2.5], [1.0, None, 2.5]),
        (["b", 1, None], ["b", "1", None]),
        (np.array(["b", "a", "c"]), ["b", "a", "c"]),
        (np.array([3, 1, 2], dtype=np.uint8), [3, 1, 2]),
        (np.array(["b", 1, None], dtype=object), ["b", "1", None]),
        (list(np.array([3, 1, 2])), [3, 1, 2]),
        (torch.tensor([3, 1, 2]), [3, 1, 2]),
        (list(torch.tensor([3, 1, 2])), [3, 1, 2]),
        (torch.tensor([0.5, 1, 2], requires_grad=True), [0.5, 1.0, 2.0]),
        ([torch.tensor(0.5, requires_grad=True), None, np.float16(2)], [0.5, None, 2.0]),
        (pl.Series(["b", "a", "c"]), ["b", "a", "c"]),
        (pl.Series("y", ["b", "a", "b"], dtype=pl.Categorical), ["b", "a", "b"]),
        ((label for label in "bac"), ["b", "a", "c"]),
    ],
    ids=["list", "tuple", "numbers", "bool", "missing", "mixed", "numpy text", "numpy", "objects",
         "list of numpy", "torch", "list of torch", "torch with graph", "scalars", "polars",
         "categorical", "generator"],
)  # fmt: skip
def test_labels_come_in_many_forms(labels: Any, expected: list[Any]) -> None:
    """`labels`: N; row i is example i's."""
    columns = _read(labels=labels).columns
    assert columns.columns == ["label"]
    assert columns["label"].to_list() == expected


@pytest.mark.parametrize(
    "labels",
    [
        np.eye(3),
        [[0, 1], [1, 0]],
        torch.eye(3),
        [{"a": 1}],
        [object()],
        "cats",
        pl.Series([[1], [2]]),
    ],
    ids=["one-hot", "lists", "torch", "mappings", "objects", "text", "polars lists"],
)
def test_labels_that_are_no_single_values_are_refused(labels: Any) -> None:
    """DataError: a type cannot be used."""
    with pytest.raises(DataError, match=r"label .*expected"):
        _read(labels=labels)


CONTENT: dict[Any, list[Any]] = {"word": ["x", "y", "z"], "n": [30, 10, 20]}


@pytest.mark.parametrize(
    "metadata",
    [
        pl.DataFrame(CONTENT),
        _Frame(dict(CONTENT)),
        CONTENT,
        {"word": np.array(["x", "y", "z"]), "n": torch.tensor([30, 10, 20])},
        {"word": pl.Series(["x", "y", "z"]), "n": (30, 10, 20)},
    ],
    ids=["polars", "pandas-like", "mapping", "arrays", "mixed"],
)
def test_metadata_comes_in_many_forms(metadata: Any) -> None:
    """`metadata`: a table (polars, pandas), a mapping of columns; its first text is the label."""
    columns = _read(metadata=metadata).columns
    assert columns.to_dict(as_series=False) == {"label": ["x", "y", "z"], **CONTENT}


@pytest.mark.parametrize("as_text", [True, False])
def test_metadata_may_be_a_file(as_text: bool, tmp_path: Path) -> None:
    """`metadata`: N rows of a file."""
    path = tmp_path / "rows.csv"
    path.write_text("label,n\nx,30\ny,10\n", encoding="utf-8")
    columns = _read(metadata=str(path) if as_text else path).columns
    assert columns.to_dict(as_series=False) == {"label": ["x", "y"], "n": [30, 10]}


def test_a_missing_file_of_metadata_is_told(tmp_path: Path) -> None:
    """InputNotFoundError: a file is missing."""
    with pytest.raises(InputNotFoundError, match=r"rows\.csv"):
        _read(metadata=tmp_path / "rows.csv")


def test_names_of_columns_become_text() -> None:
    """A pandas table's columns may be numbers."""
    assert _read(metadata=_Frame({0: ["x"], 1: [2]})).columns.columns == ["label", "0", "1"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"label": ["x", "y"]}, {"label": [1, 2], "label_original": ["x", "y"]}),
        (
            {"label": ["x", "y"], "label_original": ["p", "q"]},
            {"label": [1, 2], "label_original_": ["x", "y"], "label_original": ["p", "q"]},
        ),
        ({"n": [5, 6]}, {"label": [1, 2], "n": [5, 6]}),
    ],
    ids=["label", "both", "none"],
)
def test_labels_come_before_the_metadatas(
    metadata: dict[str, list[Any]], expected: dict[str, list[Any]]
) -> None:
    """Labels given are the label; that of the metadata stays beside it."""
    columns = _read(labels=[1, 2], metadata=metadata).columns
    assert columns.columns[0] == "label"
    assert columns.to_dict(as_series=False) == expected


def test_a_text_column_beside_labels_is_not_doubled() -> None:
    """Metadata with labels of their own need no label chosen among its columns."""
    columns = _read(labels=["a", "b"], metadata={"word": ["x", "y"]}).columns
    assert columns.to_dict(as_series=False) == {"label": ["a", "b"], "word": ["x", "y"]}


@pytest.mark.parametrize(
    "metadata",
    [
        5,
        [1, 2],
        np.zeros((2, 2)),
        {"a": [[1], [2]]},
        pl.DataFrame({"a": pl.Series([{1}, {2}], dtype=pl.Object)}),
        pl.DataFrame({"a": pl.Series([None, None], dtype=pl.Object)}),
    ],
    ids=["number", "list", "array", "lists", "objects", "no objects"],
)
def test_metadata_of_another_type_is_refused(metadata: Any) -> None:
    """DataError: a type cannot be used."""
    with pytest.raises(DataError, match="expected"):
        _read(metadata=metadata)


def test_nothing_known_is_no_columns() -> None:
    """`columns`: none where nothing is known of the examples."""
    examples = _read()
    assert examples.columns.width == 0
    assert examples.thumbnails is None
    assert examples.files == ()


PICTURES = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("given", "fragments"),
    [
        ({"labels": [1, 2], "metadata": {"n": [1, 2, 3]}}, ["2 labels", "3 metadata rows"]),
        ({"labels": [1, 2], "images": PICTURES}, ["3 images", "2 labels"]),
        ({"metadata": {"n": [1, 2]}, "images": PICTURES}, ["3 images", "2 labels or metadata"]),
        ({"labels": [], "metadata": {"n": [1]}}, ["0 labels", "1 metadata"]),
        ({"labels": [1], "metadata": {"n": []}}, ["1 labels", "0 metadata"]),
        ({"labels": [], "images": PICTURES}, ["3 images", "0 labels"]),
        ({"metadata": {"a": [1], "b": [1, 2]}}, ["'a': 1", "'b': 2"]),
        ({"images": []}, ["images is empty"]),
    ],
)
def test_other_numbers_of_rows_are_refused(given: dict[str, Any], fragments: list[str]) -> None:
    """DataError: their numbers differ."""
    with pytest.raises(DataError) as raised:
        _read(**given)
    for fragment in fragments:
        assert fragment in str(raised.value)


# Images

RED = np.zeros((4, 6, 3), np.uint8)
RED[...] = (255, 51, 0)
CLEAR = np.zeros((4, 6, 4), np.uint8)
CLEAR[...] = (0, 0, 255, 128)


def _corner(tiles: np.ndarray | None, row: int) -> list[int]:
    """The colour in a tile's middle, as red, green, blue and opacity."""
    assert tiles is not None
    return [int(value) for value in tiles[row, 4, 4]]


@pytest.mark.parametrize(
    ("picture", "rgba"),
    [
        (RED, [255, 51, 0, 255]),
        (RED.transpose(2, 0, 1), [255, 51, 0, 255]),
        (RED.astype(np.float32) / 255, [255, 51, 0, 255]),
        (RED.transpose(2, 0, 1).astype(np.float64) / 255, [255, 51, 0, 255]),
        (torch.from_numpy(RED), [255, 51, 0, 255]),
        (torch.from_numpy(RED.copy()).permute(2, 0, 1) / 255, [255, 51, 0, 255]),
        ((torch.ones(3, 4, 6) * 0.2).bfloat16().requires_grad_(), [51, 51, 51, 255]),
        (torch.ones(1, 4, 6).half(), [255, 255, 255, 255]),
        (Image.fromarray(RED), [255, 51, 0, 255]),
        (np.full((4, 6), 9, np.uint8), [9, 9, 9, 255]),
        (np.full((4, 6, 1), 9, np.uint8), [9, 9, 9, 255]),
        (np.full((1, 4, 6), 9, np.uint8), [9, 9, 9, 255]),
        (np.full((4, 6), 0.2), [51, 51, 51, 255]),
        (np.ones((4, 6), bool), [255, 255, 255, 255]),
        (CLEAR, [0, 0, 255, 128]),
        (CLEAR.transpose(2, 0, 1), [0, 0, 255, 128]),
    ],
    ids=["HWC", "CHW", "float", "CHW double", "torch", "torch CHW", "bfloat16", "half", "PIL", "HW",
         "HW1", "1HW", "HW float", "bool", "RGBA", "CHW RGBA"],
)  # fmt: skip
def test_pictures_come_in_many_forms(picture: Any, rgba: list[int]) -> None:
    """Pictures as (H, W), (H, W, C) or (C, H, W): uint8, or floats from 0 to 1."""
    black = np.zeros((4, 6, 3), np.uint8)
    tiles = _read(images=[black, picture, black]).thumbnails
    assert tiles is not None
    assert tiles.shape == (3, 8, 8, 4)
    assert tiles.dtype == np.uint8
    assert [_corner(tiles, row) for row in range(3)] == [[0, 0, 0, 255], rgba, [0, 0, 0, 255]]
    # Six by four fill the width; above and below is transparency.
    assert int(tiles[1, 0, 4, 3]) == 0
    assert int(tiles[1, 4, 0, 3]) == rgba[3]


def test_tile_i_is_picture_i() -> None:
    """Row i of the thumbnails is example i's, for lists and arrays alike."""
    shades = [40, 200, 0, 120]
    pictures = np.array(shades, np.uint8)[:, None, None] * np.ones((1, 5, 5), np.uint8)
    for images in (pictures, list(pictures), torch.from_numpy(pictures)):
        tiles = _read(images=images).thumbnails
        assert [_corner(tiles, row)[0] for row in range(4)] == shades


def test_a_picture_keeps_its_sides() -> None:
    """A channel axis is moved, the picture not turned: left stays left, above stays above."""
    picture = np.zeros((3, 8, 8), np.uint8)
    picture[0, :4, :4] = 255
    tiles = _read(images=[picture]).thumbnails
    assert tiles is not None
    reds = tiles[0, :, :, 0]
    assert [int(reds[y, x]) for y, x in ((1, 1), (1, 6), (6, 1), (6, 6))] == [255, 0, 0, 0]


@pytest.mark.parametrize(
    ("picture", "fragments"),
    [
        (np.zeros((5, 6, 2), np.uint8), ["(5, 6, 2)", "1, 3 or 4 channels"]),
        (np.zeros(5, np.uint8), ["(5,)"]),
        (np.zeros((1, 3, 4, 6), np.uint8), ["(1, 3, 4, 6)"]),
        (np.zeros((0, 0), np.float32), ["(0, 0)"]),
        (np.zeros((0, 5, 3), np.uint8), ["(0, 5, 3)"]),
        (np.full((4, 6), 1.5), ["from 1.5 to 1.5", "0 to 1", "normalisation"]),
        (np.full((4, 6), -0.1), ["from -0.1"]),
        (np.full((4, 6), np.nan), ["nan"]),
        (np.zeros((4, 6), np.int64), ["int64", "uint8"]),
        (None, ["shape ()"]),
    ],
    ids=["channels", "1-D", "4-D", "empty", "no height", "above", "below", "nan", "int64", "None"],
)
def test_a_picture_that_is_none_is_refused(picture: Any, fragments: list[str]) -> None:
    """DataError: a type cannot be used; the message names the row."""
    with pytest.raises(DataError) as raised:
        _read(images=[RED, picture])
    for fragment in ["image 1", *fragments]:
        assert fragment in str(raised.value)


def _files(folder: Path) -> list[Path]:
    paths = [folder / f"{name}.png" for name in "cab"]
    for path in paths:
        Image.fromarray(RED).save(path)
    return paths


def test_files_of_images_are_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`files`: N image files that thumbnails are to be made of; absolute, in the order given."""
    paths = _files(tmp_path)
    monkeypatch.chdir(tmp_path)
    names = ["c.png", "a.png", "b.png"]
    given = (paths, [str(path) for path in paths], names, np.array(names), pl.Series(names))
    for images in given:
        examples = _read(images=images)
        assert examples.files == tuple(paths)
        assert examples.thumbnails is None
        assert examples.columns["label"].to_list() == names
        assert examples.thumbnail_px == 8


def test_one_missing_image_is_left_to_the_reader(tmp_path: Path) -> None:
    """InputNotFoundError only where an image is missing altogether: all of them."""
    paths = _files(tmp_path)
    paths[0].unlink()
    assert _read(images=paths).files == tuple(paths)
    with pytest.raises(InputNotFoundError, match="none of the 2 images exists; the first is"):
        _read(images=[tmp_path / "x.png", tmp_path / "y.png"])


def test_images_beside_labels_keep_the_labels(tmp_path: Path) -> None:
    """Where labels are known, files' names are not the labels."""
    assert _read(labels=[1, 2, 3], images=_files(tmp_path)).columns["label"].to_list() == [1, 2, 3]
    assert _read(labels=[1, 2, 3], images=PICTURES).columns["label"].to_list() == [1, 2, 3]
    assert _read(images=PICTURES).columns["label"].to_list() == ["row 0", "row 1", "row 2"]


# Vectors

VALUES = [[1.0, -2.0, 0.5], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    "vectors",
    [
        np.array(VALUES),
        np.array(VALUES, np.float16),
        np.array(VALUES, ">f8"),
        np.asfortranarray(np.array(VALUES, np.float32)),
        np.array(VALUES).T[::1].T,
        VALUES,
        [torch.tensor(row) for row in VALUES],
        torch.tensor(VALUES),
        torch.tensor(VALUES, dtype=torch.float64),
        torch.tensor(VALUES).half(),
        torch.tensor(VALUES).bfloat16(),
        torch.tensor(VALUES, requires_grad=True),
        torch.tensor(VALUES, requires_grad=True) * 1,
        torch.tensor(VALUES).T.contiguous().T,
        torch.tensor(VALUES).to_sparse(),
        torch.nn.Parameter(torch.tensor(VALUES)),
        torch.complex(torch.zeros(2, 3), -torch.tensor(VALUES)).conj().imag,
    ],
    ids=["float64", "float16", "big-endian", "fortran", "strided", "lists", "rows of tensors",
         "torch", "double", "half", "bfloat16", "leaf", "graph", "turned", "sparse", "parameter",
         "negated view"],
)  # fmt: skip
def test_vectors_come_in_many_forms(vectors: Any) -> None:
    """A copy as (N, D) float32 in this process's memory."""
    array = as_array(vectors, 3)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.owndata
    assert array.tolist() == VALUES


def test_sparse_rows_are_dense() -> None:
    """Any layout of a torch tensor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that the layout is in beta
        vectors = torch.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse_csr()
    assert as_array(vectors, 0).tolist() == [[0, 2], [3, 0]]


@pytest.mark.parametrize("vectors", [np.array([[1, 2]]), torch.tensor([[True, False]])])
def test_whole_numbers_become_floats(vectors: Any) -> None:
    """Any real type."""
    array = as_array(vectors, 0)
    assert array.dtype == np.float32
    assert array.tolist() in ([[1, 2]], [[1, 0]])


def test_the_copy_is_independent() -> None:
    """No graph is kept alive: changing the source afterwards changes nothing."""
    tensor = torch.tensor(VALUES, requires_grad=True)
    array = np.array(VALUES, np.float32)
    plain = torch.tensor(VALUES)
    copies = [as_array(source, 0) for source in (tensor, array, plain)]
    with torch.no_grad():
        tensor.zero_()
        plain.zero_()
    array[:] = 0
    assert [copy.tolist() for copy in copies] == [VALUES] * 3
    copies[0][:] = 9
    assert tensor.tolist() == [[0] * 3] * 2


@pytest.mark.parametrize(
    ("vectors", "fragments"),
    [
        (np.zeros(5), ["(5,)"]),
        (torch.zeros(5), ["(5,)"]),
        (np.zeros((2, 3, 4)), ["(2, 3, 4)"]),
        (np.zeros((2, 3), complex), ["complex128"]),
        (torch.zeros(2, 3, dtype=torch.complex64), ["complex64"]),
        (np.array([["a", "b"]]), ["<U1"]),
        (np.array([[None, 1]], dtype=object), ["object"]),
        ([[1, 2], [3]], ["list", "no array"]),
        ([torch.zeros(2, requires_grad=True)], ["list", "no array"]),
        (None, ["()"]),
    ],
    ids=["1-D", "torch 1-D", "3-D", "complex", "torch complex", "text", "objects", "ragged",
         "rows with graphs", "None"],
)  # fmt: skip
def test_what_are_no_vectors_is_refused(vectors: Any, fragments: list[str]) -> None:
    """DataError: not 2-D, or no real numbers; the message names the step."""
    with pytest.raises(DataError) as raised:
        as_array(vectors, 17)
    for fragment in ["step 17", "expected (examples, dimensions)", *fragments]:
        assert fragment in str(raised.value) or fragment.startswith("expected")


def test_too_large_values_are_left_to_the_check() -> None:
    """No warning of NumPy's: that they are infinite is told with their place."""
    assert as_array(np.array([[1e300, 1.0]]), 0).tolist() == [[np.inf, 1.0]]
