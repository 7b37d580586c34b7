"""Vectors of every format come out row for row; what cannot be read is refused with its place."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from projector_export.errors import DataError, InputNotFoundError
from projector_export.sources.tables import read_table
from projector_export.sources.vectors import read_arrays, read_vectors

# Whole numbers up to 256: exact in every dtype down to bfloat16. No two rows are alike.
VALUES = [[1, 2, 3], [-4, 5, 6], [7, -8, 9], [10, 11, -12], [0, 0, 100]]
LABELS = ["い", "ろ", "は", "に", "ほ"]


def _array(dtype: str = "float32") -> np.ndarray:
    return np.array(VALUES, dtype=dtype)


def _rows(separator: str) -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in VALUES)


def _save_pt(path: Path, make: Callable[[Any, Any], Any]) -> None:
    torch = pytest.importorskip("torch")
    torch.save(make(torch, torch.tensor(VALUES, dtype=torch.float32)), path)


def _save_safetensors(path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    save_file({"vectors": torch.tensor(VALUES).to(getattr(torch, dtype))}, path)


def _list_frame(dtype: pl.DataType) -> pl.DataFrame:
    return pl.DataFrame({"vector": pl.Series(VALUES, dtype=dtype)})


def _jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _save_npz(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


WRITERS: dict[str, Callable[[Path], object]] = {
    "float16.npy": lambda path: np.save(path, _array("float16")),
    "float32.npy": lambda path: np.save(path, _array("float32")),
    "float64.npy": lambda path: np.save(path, _array("float64")),
    "int8.npy": lambda path: np.save(path, _array("int8")),
    "int64.npy": lambda path: np.save(path, _array("int64")),
    "big_endian.npy": lambda path: np.save(path, _array(">f4")),
    "fortran.npy": lambda path: np.save(path, np.asfortranarray(_array())),
    "one.npz": lambda path: _save_npz(path, anything=_array("float64")),
    "header.csv": lambda path: path.write_text("x,y,z\n" + _rows(",")),
    "bare.csv": lambda path: path.write_text(_rows(",")),
    "crlf.csv": lambda path: path.write_bytes(
        ("x,y,z\n" + _rows(",")).replace("\n", "\r\n").encode()
    ),
    "excel.csv": lambda path: path.write_text("x,y,z\n" + _rows(","), encoding="utf-8-sig"),
    "UPPER.CSV": lambda path: path.write_text("x,y,z\n" + _rows(",")),
    "header.tsv": lambda path: path.write_text("x\ty\tz\n" + _rows("\t")),
    "bare.tsv": lambda path: path.write_text(_rows("\t")),
    "list.parquet": lambda path: _list_frame(pl.List(pl.Float64)).write_parquet(path),
    "array.parquet": lambda path: _list_frame(pl.Array(pl.Float32, 3)).write_parquet(path),
    "numbers.parquet": lambda path: pl.DataFrame(_array(), schema=list("xyz")).write_parquet(path),
    "list.jsonl": lambda path: path.write_text(_jsonl([{"v": row} for row in VALUES])),
    "numbers.jsonl": lambda path: path.write_text(
        _jsonl([dict(zip("xyz", row, strict=True)) for row in VALUES])
    ),
    "tensor.pt": lambda path: _save_pt(path, lambda _, tensor: tensor),
    "bfloat16.pt": lambda path: _save_pt(path, lambda torch, t: {"a": t.to(torch.bfloat16)}),
    "grad.pt": lambda path: _save_pt(path, lambda _, tensor: tensor.requires_grad_()),
    "sparse.pt": lambda path: _save_pt(path, lambda _, tensor: {"a": tensor.to_sparse()}),
    "float32.safetensors": lambda path: _save_safetensors(path, "float32"),
    "float16.safetensors": lambda path: _save_safetensors(path, "float16"),
    "bfloat16.safetensors": lambda path: _save_safetensors(path, "bfloat16"),
    "int64.safetensors": lambda path: _save_safetensors(path, "int64"),
}


@pytest.mark.parametrize("file", WRITERS)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants:UserWarning")
def test_the_same_values_come_out_of_every_format(file: str, tmp_path: Path) -> None:
    """Row i of every file is point i; every numeric dtype becomes float32."""
    WRITERS[file](tmp_path / file)
    points = read_vectors(tmp_path / file)
    assert points.vectors.dtype == np.dtype("float32")
    assert points.vectors.tolist() == VALUES
    assert points.columns["label"].to_list() == ["row 0", "row 1", "row 2", "row 3", "row 4"]
    assert points.name == file.rsplit(".", 1)[0]
    assert points.origin["source"] == file


def test_npy_is_memory_mapped(tmp_path: Path) -> None:
    """`.npy (memory-mapped)`: float32 vectors larger than memory are not read at once."""
    np.save(tmp_path / "v.npy", _array())
    base: Any = read_vectors(tmp_path / "v.npy").vectors
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_fractions_and_exponents_of_text_files_are_exact(tmp_path: Path) -> None:
    """A number in text is the float32 nearest to it."""
    (tmp_path / "v.csv").write_text("0.1,-2.5e-3,1e3\n-0,1E+2,12345.678\n")
    vectors = read_vectors(tmp_path / "v.csv").vectors
    expected = [[0.1, -0.0025, 1000.0], [0.0, 100.0, 12345.678]]
    assert vectors.tolist() == np.array(expected, dtype=np.float32).tolist()


@pytest.mark.parametrize("cell", [".5", "-.5", "1.", "+5", " 5", "5 "])
def test_no_column_of_numbers_gets_lost(cell: str, tmp_path: Path) -> None:
    """Unknown input is refused, not guessed: three columns never come out as two dimensions."""
    (tmp_path / "v.csv").write_text(f"1,2,{cell}\n3,4,{cell}\n")
    try:
        dims: object = read_vectors(tmp_path / "v.csv").vectors.shape[1]
    except DataError:
        dims = "refused"
    assert dims in (3, "refused")


# --- columns beside the vectors ---------------------------------------------------------------


def _metadata_writers() -> dict[str, Callable[[Path], object]]:
    frame = pl.DataFrame({"name": LABELS, "code": ["007", "010", "1", "", "x"]})
    rows = "い,007\nろ,010\nは,1\nに,\nほ,x\n"
    return {
        "m.csv": lambda path: path.write_text("name,code\n" + rows, encoding="utf-8"),
        "bom.csv": lambda path: path.write_text("name,code\n" + rows, encoding="utf-8-sig"),
        "m.tsv": lambda path: path.write_text(
            ("name,code\n" + rows).replace(",", "\t"), encoding="utf-8"
        ),
        "m.jsonl": lambda path: path.write_text(_jsonl(frame.to_dicts()), encoding="utf-8"),
        "m.parquet": frame.write_parquet,
    }


@pytest.mark.parametrize("file", _metadata_writers())
def test_metadata_rows_stay_with_their_vectors(file: str, tmp_path: Path) -> None:
    """`metadata`: a table of as many rows; row i of every file is point i. 007 stays text."""
    np.save(tmp_path / "v.npy", _array())
    _metadata_writers()[file](tmp_path / file)
    points = read_vectors(tmp_path / "v.npy", metadata=tmp_path / file)
    assert points.vectors.tolist() == VALUES
    assert points.columns.to_dict(as_series=False) == {
        "label": LABELS,
        "name": LABELS,
        "code": ["007", "010", "1", "", "x"],
    }


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("m.txt", "い\nろ\nは\nに\nほ\n"),
        ("no_end.txt", "い\nろ\nは\nに\nほ"),
        ("crlf.txt", "い\r\nろ\r\nは\r\nに\r\nほ\r\n"),
        ("bom.txt", "\ufeffい\nろ\nは\nに\nほ\n"),
        ("one_column.tsv", "い\nろ\nは\nに\nほ\n"),
    ],
)
def test_a_file_of_plain_lines_is_labels(file: str, text: str, tmp_path: Path) -> None:
    """A tsv of one column, which TensorBoard reads without a header; txt is a line a row."""
    np.save(tmp_path / "v.npy", _array())
    (tmp_path / file).write_bytes(text.encode("utf-8"))
    points = read_vectors(tmp_path / "v.npy", metadata=tmp_path / file)
    assert points.columns.to_dict(as_series=False) == {"label": LABELS}


def test_empty_lines_of_a_txt_are_rows(tmp_path: Path) -> None:
    """Txt is a line a row: an empty one too, or all later labels would slip."""
    (tmp_path / "m.txt").write_text("a\n\nc\n\ne\n")
    assert read_table(tmp_path / "m.txt")["label"].to_list() == ["a", "", "c", "", "e"]


def test_empty_cells_are_empty_text_or_missing_numbers(tmp_path: Path) -> None:
    """Empty cells are empty text, or missing in a numeric column."""
    (tmp_path / "m.csv").write_text("t,n,f,nothing\na,1,0.5,\n,,,\nc,3,nan,\n")
    table = read_table(tmp_path / "m.csv")
    assert table["t"].to_list() == ["a", "", "c"]
    assert table["n"].to_list() == [1, None, 3]
    assert table["f"].to_list()[:2] == [0.5, None]
    assert np.isnan(table["f"][2])
    assert table["nothing"].to_list() == ["", "", ""]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "22", "-3"], [1, 22, -3]),
        (["1", "2.5", "-3e2"], [1.0, 2.5, -300.0]),
        (["007", "8", "9"], ["007", "8", "9"]),
        (["1", "2", "zwei"], ["1", "2", "zwei"]),
        (["1_000", "2", "3"], ["1_000", "2", "3"]),
        (["0x10", "2", "3"], ["0x10", "2", "3"]),
        (["true", "false", "true"], ["true", "false", "true"]),
        (["2024-01-02", "2", "3"], ["2024-01-02", "2", "3"]),
        (["9999999999999999999", "2", "3"], [9999999999999999999.0, 2.0, 3.0]),
    ],
)
def test_a_column_is_numeric_only_if_every_cell_is_a_plain_number(
    cells: list[str], expected: list[object], tmp_path: Path
) -> None:
    """A csv column becomes numeric only when every cell is a plain number."""
    (tmp_path / "m.csv").write_text("a,b\n" + "".join(f"k,{cell}\n" for cell in cells))
    assert read_table(tmp_path / "m.csv")["b"].to_list() == expected


def test_quoted_cells_hold_separators_and_line_breaks(tmp_path: Path) -> None:
    """Csv has quoting; a cell with a line break is still one row."""
    (tmp_path / "m.csv").write_text('t,n\n"a, b",1\n"c\nd",2\n"say ""e""",3\n')
    assert read_table(tmp_path / "m.csv").rows() == [("a, b", 1), ("c\nd", 2), ('say "e"', 3)]


def test_quotes_in_a_tsv_are_text(tmp_path: Path) -> None:
    """The viewer's tsv has no quoting."""
    (tmp_path / "m.tsv").write_text('t\tn\n"a\t1\nb"\t2\n')
    assert read_table(tmp_path / "m.tsv").rows() == [('"a', 1), ('b"', 2)]


def test_text_columns_beside_numeric_ones_are_kept(tmp_path: Path) -> None:
    """In a table all numeric columns are the vectors; the other columns are kept."""
    (tmp_path / "v.csv").write_text("kind,x,note,y\ncat,1,n1,2\ndog,3,n2,4\n")
    points = read_vectors(tmp_path / "v.csv")
    assert points.vectors.tolist() == [[1, 2], [3, 4]]
    assert points.columns.to_dict(as_series=False) == {
        "label": ["cat", "dog"],
        "kind": ["cat", "dog"],
        "note": ["n1", "n2"],
    }


def test_numbers_beside_a_list_column_are_kept_as_columns(tmp_path: Path) -> None:
    """In a table, the column of lists is the vectors; the other columns are kept."""
    rows = [{"label": "a", "n": 1, "v": [1, 2]}, {"label": "b", "n": 2, "v": [3, 4]}]
    (tmp_path / "v.jsonl").write_text(_jsonl(rows))
    points = read_vectors(tmp_path / "v.jsonl")
    assert points.vectors.tolist() == [[1, 2], [3, 4]]
    assert points.columns.to_dict(as_series=False) == {"label": ["a", "b"], "n": [1, 2]}


def test_1d_arrays_of_an_archive_are_columns(tmp_path: Path) -> None:
    """In .npz the one 2-D array is the vectors; 1-D arrays of as many values are columns."""
    _save_npz(
        tmp_path / "v.npz",
        v=_array(),
        label=np.array(LABELS),
        n=np.arange(5),
        other=np.arange(4),
    )
    points = read_vectors(tmp_path / "v.npz")
    assert points.vectors.tolist() == VALUES
    assert points.columns.to_dict(as_series=False) == {"label": LABELS, "n": [0, 1, 2, 3, 4]}


def test_label_names_the_column_to_label_with(tmp_path: Path) -> None:
    """`label`: which column is the label; a column `label` that was there keeps its values."""
    np.save(tmp_path / "v.npy", _array()[:2])
    (tmp_path / "m.csv").write_text("label,species\na,cat\nb,dog\n")
    chosen = read_vectors(tmp_path / "v.npy", metadata=tmp_path / "m.csv", label="species")
    assert chosen.columns.to_dict(as_series=False) == {
        "label": ["cat", "dog"],
        "label_original": ["a", "b"],
        "species": ["cat", "dog"],
    }
    default = read_vectors(tmp_path / "v.npy", metadata=tmp_path / "m.csv")
    assert default.columns["label"].to_list() == ["a", "b"]


def test_label_is_never_taken_for_a_dimension(tmp_path: Path) -> None:
    """A numeric column chosen as the label is no vector column."""
    (tmp_path / "v.csv").write_text("id,x,y\n7,1,2\n8,3,4\n")
    points = read_vectors(tmp_path / "v.csv", label="id")
    assert points.vectors.tolist() == [[1, 2], [3, 4]]
    assert points.columns["label"].to_list() == [7, 8]


def test_a_taken_label_original_is_no_crash(tmp_path: Path) -> None:
    """A table may already have a column `label_original` (a metadata.tsv of ours has it)."""
    np.save(tmp_path / "v.npy", _array()[:2])
    (tmp_path / "m.csv").write_text("label,label_original,kind\na,x,cat\nb,y,dog\n")
    points = read_vectors(tmp_path / "v.npy", metadata=tmp_path / "m.csv", label="kind")
    assert points.columns["label"].to_list() == ["cat", "dog"]
    assert points.columns["kind"].to_list() == ["cat", "dog"]


def test_unknown_label_lists_the_columns(tmp_path: Path) -> None:
    """The message says got, expected, where."""
    np.save(tmp_path / "v.npy", _array()[:2])
    (tmp_path / "m.csv").write_text("name,kind\na,cat\nb,dog\n")
    with pytest.raises(DataError, match=r"m\.csv has no column 'species' .*: name, kind$"):
        read_vectors(tmp_path / "v.npy", metadata=tmp_path / "m.csv", label="species")


def test_another_number_of_metadata_rows_is_refused(tmp_path: Path) -> None:
    """Unknown input is refused: `m.csv has 98 rows but v.npy has 100 vectors`."""
    np.save(tmp_path / "v.npy", np.ones((100, 3), dtype=np.float32))
    (tmp_path / "m.csv").write_text("name\n" + "".join(f"n{i}\n" for i in range(98)))
    with pytest.raises(DataError) as caught:
        read_vectors(tmp_path / "v.npy", metadata=tmp_path / "m.csv")
    assert str(caught.value) == (
        f"{tmp_path}/m.csv has 98 rows but {tmp_path}/v.npy has 100 vectors; give one row a vector"
    )


# --- refusals -----------------------------------------------------------------------------------


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_the_bomb_is_live(tmp_path: Path) -> None:
    """The next test proves something only if unpickling would make the file."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["npy", "npz", "pt"])
@pytest.mark.parametrize("how", ["saved", "raw pickle"])
def test_pickled_objects_are_refused_without_running_them(
    suffix: str, how: str, tmp_path: Path
) -> None:
    """Pickles can run code when they are loaded; they are never loaded."""
    file, ran = tmp_path / f"v.{suffix}", tmp_path / "ran"
    if how == "raw pickle":
        file.write_bytes(pickle.dumps(Bomb(ran), protocol=2))  # torch warns of later ones
    elif suffix == "pt":
        pytest.importorskip("torch").save(Bomb(ran), file)
    else:
        objects = np.array([[Bomb(ran), 1], [2, 3]], dtype=object)
        with open(file, "wb") as stream:
            (np.save if suffix == "npy" else np.savez)(stream, objects)
    expected = "weights_only=True" if suffix == "pt" else "pickled Python objects"
    with pytest.raises(DataError, match=expected):
        read_vectors(file)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("v.jsonl", '{"v": [1, 2]}\n{"v": [1]}\n', "'v', holds lists of 1 to 2 values"),
        ("v.jsonl", '{"v": [1, 2]}\n{"v": null}\n', "expected lists of equally many numbers"),
        ("v.jsonl", '{"v": [1, 2]}\n{"w": 3}\n', "expected lists of equally many numbers"),
        ("v.jsonl", '{"v": []}\n{"v": []}\n', "expected lists of equally many numbers"),
        ("v.jsonl", '{"v": ["a", "b"]}\n{"v": ["c", "d"]}\n', "expected lists of equally many num"),
        ("v.jsonl", '{"v": [1, 2]}\n{"v": [1, null]}\n', "nan in row 1, column 1"),
        ("v.jsonl", '{"a": [1, 2], "b": [1, 2]}\n' * 2, r"2 list columns \(a, b\); expected one"),
        ("v.jsonl", '{"v": [1, 2]}\nnonsense\n', "cannot be read as jsonl"),
        ("v.csv", "x,y\n1,2\n,4\n", "nan in row 1, column 0"),
        ("v.csv", "x,y\n1,2\n3,4,5\n", "cannot be read as csv"),
        ("v.csv", "name,x\na,1\nb,2\n", "has 1 numeric columns; expected .* at least 2 numeric"),
        ("v.csv", "", "cannot be read as csv"),
        ("v.tsv", "", "cannot be read as tsv|0 numeric columns"),
        ("v.bin", "1 2 3", r"ends in '\.bin'; expected vectors as \.npy \.npz \.csv"),
        ("v.txt", "1 2 3", r"ends in '\.txt'; expected vectors as"),
        ("v", "1 2 3", "ends in ''; expected vectors as"),
        ("v.npy", "", "cannot be read as NumPy data"),
        ("v.npy", "garbage", "NumPy data|pickled"),
        ("v.npz", "", "cannot be read as NumPy data"),
        ("v.npz", "PK\x03\x04 cut off", "cannot be read as NumPy data"),
        ("v.parquet", "garbage", "cannot be read as parquet"),
        ("v.safetensors", "garbage", "cannot be read as safetensors"),
        ("v.safetensors", "", "cannot be read as safetensors"),
        ("v.pt", "garbage", "cannot be loaded with weights_only=True"),
        ("v.pt", "", "cannot be loaded with weights_only=True"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_is_not_vectors_is_refused(
    file: str, text: str, message: str, tmp_path: Path
) -> None:
    """DataError: the content is not as documented; says where."""
    if file.endswith(".pt"):
        pytest.importorskip("torch")
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_vectors(tmp_path / file)
    assert str(caught.value).startswith(f"{tmp_path}/{file}")


@pytest.mark.parametrize("file", ["v.npy", "v.npz", "v.safetensors", "v.parquet", "v.pt"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_cut_off_is_refused(file: str, tmp_path: Path) -> None:
    """A download that broke off is our error with one message, not a traceback."""
    writer = {
        "v.npy": "float32.npy",
        "v.npz": "one.npz",
        "v.safetensors": "float32.safetensors",
        "v.parquet": "list.parquet",
        "v.pt": "tensor.pt",
    }
    path = tmp_path / file
    WRITERS[writer[file]](path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be"):
        read_vectors(path)


@pytest.mark.parametrize("file", ["v.pt", "v.safetensors"])
def test_a_dtype_that_numpy_does_not_have_is_refused(file: str, tmp_path: Path) -> None:
    """DataError: the content is not as documented; float8 has no NumPy type."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    vectors = torch.tensor(VALUES, dtype=torch.float32).to(torch.float8_e4m3fn)
    if file == "v.pt":
        torch.save(vectors, tmp_path / file)
    else:
        save_file({"vectors": vectors}, tmp_path / file)
    with pytest.raises(DataError, match=r"v\.(pt|safetensors)"):
        read_vectors(tmp_path / file)


def test_several_2d_arrays_are_refused_with_their_names(tmp_path: Path) -> None:
    """Unknown input is refused, not guessed, unless one has a usual name."""
    _save_npz(tmp_path / "two.npz", a=_array(), b=_array() * 2)
    with pytest.raises(DataError, match=r"2 2-D arrays \(a, b\); expected one, or one named"):
        read_vectors(tmp_path / "two.npz")
    _save_npz(tmp_path / "named.npz", a=_array() * 2, embeddings=_array())
    assert read_vectors(tmp_path / "named.npz").vectors.tolist() == VALUES


def test_an_archive_without_a_2d_array_is_refused(tmp_path: Path) -> None:
    """The shapes that were found are named."""
    _save_npz(tmp_path / "v.npz", a=np.arange(3), b=np.arange(4))
    with pytest.raises(DataError, match=r"no 2-D array; .*: a \(3,\), b \(4,\)"):
        read_vectors(tmp_path / "v.npz")


def test_a_1d_array_is_refused(tmp_path: Path) -> None:
    """Give one row a vector."""
    np.save(tmp_path / "v.npy", np.arange(5))
    with pytest.raises(DataError, match=r"v\.npy holds an array of shape \(5,\)"):
        read_vectors(tmp_path / "v.npy")


def test_a_folder_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    """InputNotFoundError: nothing there. DataError: a folder."""
    (tmp_path / "v.npy").mkdir()
    with pytest.raises(DataError, match=r"v\.npy is a folder; expected a file"):
        read_vectors(tmp_path / "v.npy")
    with pytest.raises(InputNotFoundError, match=r"nope\.npy does not exist"):
        read_vectors(tmp_path / "nope.npy")
    with pytest.raises(InputNotFoundError, match=r"nope\.npy does not exist"):
        read_arrays(tmp_path / "nope.npy")
    np.save(tmp_path / "w.npy", _array())
    with pytest.raises(InputNotFoundError, match=r"nope\.csv does not exist"):
        read_vectors(tmp_path / "w.npy", metadata=tmp_path / "nope.csv")


@pytest.mark.parametrize("file", ["m.csv", "m.tsv", "m.txt", "m.jsonl"])
def test_shift_jis_is_refused_with_the_way_out(file: str, tmp_path: Path) -> None:
    """DataError: not UTF-8; the message says what to do."""
    np.save(tmp_path / "v.npy", _array()[:2])
    text = {
        "m.csv": "名前,番号\n魚,1\n鳥,2\n",
        "m.tsv": "名前\t番号\n魚\t1\n鳥\t2\n",
        "m.txt": "魚\n鳥\n",
        "m.jsonl": '{"名前": "魚"}\n{"名前": "鳥"}\n',
    }[file]
    (tmp_path / file).write_bytes(text.encode("shift_jis"))
    with pytest.raises(DataError, match=rf"{file} cannot be read as .*; save it as UTF-8"):
        read_vectors(tmp_path / "v.npy", metadata=tmp_path / file)


def test_shift_jis_vectors_are_refused_with_the_way_out(tmp_path: Path) -> None:
    """DataError: not UTF-8; the message says what to do."""
    (tmp_path / "v.csv").write_bytes("名前,x,y\n魚,1,2\n鳥,3,4\n".encode("shift_jis"))
    with pytest.raises(DataError, match=r"v\.csv cannot be read as csv .*; save it as UTF-8"):
        read_vectors(tmp_path / "v.csv")


# --- images -------------------------------------------------------------------------------------

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250)]
# Neither the order of writing nor that of reading by chance is the order of the names.
IMAGES = ["5.png", "3.png", "1.png", "4.png", "2.png"]


def _write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, colour in zip(IMAGES, COLOURS, strict=True):
        Image.new("RGB", (8, 8), colour).save(folder / name)


def test_images_by_column_are_relative_to_the_metadata(tmp_path: Path) -> None:
    """`images`: a column of image paths (relative to the metadata's folder)."""
    np.save(tmp_path / "v.npy", _array())
    _write_images(tmp_path / "data" / "pics")
    lines = "".join(f"pics/{name}\n" for name in IMAGES)
    (tmp_path / "data" / "m.csv").write_text("file\n" + lines)
    points = read_vectors(
        tmp_path / "v.npy", metadata=tmp_path / "data" / "m.csv", images="file", thumbnail_px=4
    )
    assert points.thumbnails is not None
    assert points.thumbnails.shape == (5, 4, 4, 4)
    assert [tuple(tile) for tile in points.thumbnails[:, 2, 2].tolist()] == [
        (250, 0, 0, 255),
        (0, 250, 0, 255),
        (0, 0, 250, 255),
        (250, 250, 0, 255),
        (0, 250, 250, 255),
    ]
    assert points.columns["path"].to_list() == [f"{tmp_path}/data/pics/{name}" for name in IMAGES]
    assert points.origin["images_unreadable"] == []


def test_images_by_folder_are_taken_in_sorted_order(tmp_path: Path) -> None:
    """`images`: a folder with as many images, taken in sorted order."""
    np.save(tmp_path / "v.npy", _array())
    _write_images(tmp_path / "pics")
    points = read_vectors(tmp_path / "v.npy", images=tmp_path / "pics", thumbnail_px=4)
    assert points.thumbnails is not None
    assert [tuple(tile) for tile in points.thumbnails[:, 2, 2, :3].tolist()] == [
        (0, 0, 250),
        (0, 250, 250),
        (0, 250, 0),
        (250, 250, 0),
        (250, 0, 0),
    ]


def test_an_unreadable_image_is_a_crossed_tile_and_counted(tmp_path: Path) -> None:
    """A vector without a readable image keeps its row; its tile is a white cross on grey."""
    np.save(tmp_path / "v.npy", _array())
    _write_images(tmp_path / "pics")
    (tmp_path / "pics" / "3.png").write_bytes(b"no image")
    points = read_vectors(tmp_path / "v.npy", images=tmp_path / "pics", thumbnail_px=8)
    assert points.thumbnails is not None
    assert [failure["row"] for failure in points.origin["images_unreadable"]] == [2]
    assert "3.png cannot be read as an image" in points.origin["images_unreadable"][0]["why"]
    crossed = points.thumbnails[2].tolist()
    assert crossed[0][0] == crossed[7][0] == crossed[4][4] == [255, 255, 255, 255]
    assert crossed[0][4] == crossed[4][0] == [128, 128, 128, 255]
    assert points.thumbnails[1][4, 4].tolist() == [0, 250, 250, 255]
    assert points.thumbnails[3][4, 4].tolist() == [250, 250, 0, 255]


@pytest.mark.parametrize("cell", ["", "missing.png", "."])
def test_a_row_without_an_image_keeps_its_place(cell: str, tmp_path: Path) -> None:
    """An empty cell, a missing file or a folder is counted as unreadable; no row slips."""
    np.save(tmp_path / "v.npy", _array()[:3])
    _write_images(tmp_path / "pics")
    (tmp_path / "m.csv").write_text(f"name,file\na,pics/5.png\nb,{cell}\nc,pics/1.png\n")
    points = read_vectors(tmp_path / "v.npy", metadata=tmp_path / "m.csv", images="file")
    assert points.thumbnails is not None
    assert points.thumbnails.shape == (3, 64, 64, 4)
    assert [failure["row"] for failure in points.origin["images_unreadable"]] == [1]
    assert points.thumbnails[2][20, 30].tolist() == [0, 0, 250, 255]


def test_no_readable_image_at_all_is_refused(tmp_path: Path) -> None:
    """A wrong folder in the paths is one error, not a sheet of crossed tiles."""
    np.save(tmp_path / "v.npy", _array()[:2])
    (tmp_path / "m.csv").write_text("file\na.png\nb.png\n")
    with pytest.raises(DataError, match=r"none of the 2 images can be read; first: .*a\.png"):
        read_vectors(tmp_path / "v.npy", metadata=tmp_path / "m.csv", images="file")


def test_another_number_of_images_is_refused(tmp_path: Path) -> None:
    """Images without a column can be matched to vectors only one by one."""
    np.save(tmp_path / "v.npy", _array())
    _write_images(tmp_path / "pics")
    (tmp_path / "pics" / "1.png").unlink()
    with pytest.raises(DataError, match="pics holds 4 images but there are 5 vectors"):
        read_vectors(tmp_path / "v.npy", images=tmp_path / "pics")


def test_images_that_are_neither_column_nor_folder_are_refused(tmp_path: Path) -> None:
    """The message lists the columns there are."""
    np.save(tmp_path / "v.npy", _array()[:2])
    (tmp_path / "m.csv").write_text("name,file\na,1.png\nb,2.png\n")
    with pytest.raises(InputNotFoundError, match=r"'photo', which is neither a column \(name, fi"):
        read_vectors(tmp_path / "v.npy", metadata=tmp_path / "m.csv", images="photo")
