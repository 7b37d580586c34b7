"""projector_config.pbtxt: entries are merged by name, and what is the user's stays."""

from __future__ import annotations

import pytest

from projector_export.errors import DataError
from projector_export.projector.config import Embedding, merge_config, tensor_paths

DIGITS = Embedding("digits", (1797, 64), "digits", "tensor.bytes", 64)
ENTRY = """\
embeddings {
  tensor_name: "digits"
  metadata_path: "digits/metadata.tsv"
  bookmarks_path: "digits/bookmarks.json"
  tensor_shape: 1797
  tensor_shape: 64
  sprite {
    image_path: "digits/sprite.png"
    single_image_dim: 64
    single_image_dim: 64
  }
  tensor_path: "digits/tensor.bytes"
}
"""
USERS = """\
model_checkpoint_path: "model.ckpt-100"
embeddings {
  tensor_name: "words:0"
  metadata_path: "w.tsv"
}
embeddings {
  tensor_name: "faces"
  tensor_path: "faces/t.tsv"
}
model_checkpoint_dir: "there"
"""


def _names(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [line.split('"')[1] for line in lines if line.startswith("tensor_name")]


def test_a_new_config_is_golden() -> None:
    """Paths are relative to the config's directory; the shape is rows, columns."""
    assert merge_config("", DIGITS, where="x") == ENTRY


def test_without_thumbnails_there_is_no_sprite() -> None:
    """`tile_px`: side of a sprite tile, or None without a sprite."""
    plain = Embedding("v", (5, 3), "v", "tensor.tsv", None)
    assert merge_config("", plain, where="x") == (
        "embeddings {\n"
        '  tensor_name: "v"\n'
        '  metadata_path: "v/metadata.tsv"\n'
        '  bookmarks_path: "v/bookmarks.json"\n'
        "  tensor_shape: 5\n"
        "  tensor_shape: 3\n"
        '  tensor_path: "v/tensor.tsv"\n'
        "}\n"
    )


def test_files_may_lie_in_another_folder_than_the_name() -> None:
    """`folder`: where the files lie, also while an export is being replaced."""
    staged = Embedding("v", (5, 3), ".staging-1/v", "tensor.bytes", 8)
    text = merge_config("", staged, where="x")
    assert '  tensor_name: "v"\n' in text
    assert '  tensor_path: ".staging-1/v/tensor.bytes"\n' in text
    assert '    image_path: ".staging-1/v/sprite.png"\n' in text


def test_an_existing_config_belongs_to_the_user() -> None:
    """Merge by `tensor_name`, keep unknown entries and everything else, in its order."""
    merged = merge_config(USERS, DIGITS, where="x")
    assert merged == (
        'model_checkpoint_path: "model.ckpt-100"\n'
        "embeddings {\n"
        '  tensor_name: "words:0"\n'
        '  metadata_path: "w.tsv"\n'
        "}\n"
        "embeddings {\n"
        '  tensor_name: "faces"\n'
        '  tensor_path: "faces/t.tsv"\n'
        "}\n" + ENTRY + 'model_checkpoint_dir: "there"\n'
    )


def test_an_entry_of_the_same_name_is_replaced_in_its_place() -> None:
    """Nothing of the old entry is left: its sprite would not fit the new tensor."""
    old = Embedding("faces", (9, 9), "faces", "tensor.bytes", 32)
    new = Embedding("faces", (5, 3), "faces", "tensor.tsv", None)
    text = merge_config(
        merge_config(merge_config("", old, where="x"), DIGITS, where="x"), new, where="x"
    )
    assert _names(text) == ["faces", "digits"]
    first = text.split("}\n")[0]
    assert "sprite" not in first
    assert "tensor_shape: 5\n  tensor_shape: 3\n" in first
    assert '"faces/tensor.tsv"' in first
    assert text.endswith(ENTRY)


def test_name_and_name_0_are_the_same_tensor() -> None:
    """`name` and `name:0` are the same tensor (projector_plugin.py)."""
    words = Embedding("words", (5, 3), "words", "tensor.bytes", None)
    text = merge_config(USERS, words, where="x")
    assert _names(text) == ["words", "faces"]
    assert '"w.tsv"' not in text


def test_merging_again_never_doubles() -> None:
    """Never append twice."""
    once = merge_config(USERS, DIGITS, where="x")
    assert merge_config(once, DIGITS, where="x") == once


def test_entries_that_other_tools_doubled_become_one() -> None:
    """Never appended twice, even where somebody did."""
    doubled = ENTRY + USERS + ENTRY.replace('"digits"', '"digits:0"')
    assert _names(merge_config(doubled, DIGITS, where="x")) == ["digits", "words:0", "faces"]


def test_names_in_any_script_are_readable_in_the_file() -> None:
    """The config is UTF-8."""
    fish = Embedding("魚", (5, 3), "魚", "tensor.bytes", None)
    assert '  tensor_path: "魚/tensor.bytes"\n' in merge_config("", fish, where="x")


@pytest.mark.parametrize(
    "text", ["embeddings {", "nonsense", "embeddings { unknown_field: 1 }", "{}"]
)
def test_a_text_that_is_no_config_is_refused(text: str) -> None:
    """DataError: the existing text is not a projector config; says where and what to do."""
    with pytest.raises(DataError, match=r"^run/projector_config\.pbtxt is not a projector config"):
        merge_config(text, DIGITS, where="run/projector_config.pbtxt")
    with pytest.raises(DataError, match="repair or move it"):
        tensor_paths(text, where="run/projector_config.pbtxt")


def test_tensor_paths_are_listed_by_plain_name() -> None:
    """`tensor_paths`: the tensor path of every entry, by name without `:0`."""
    text = merge_config(USERS, DIGITS, where="x")
    assert tensor_paths(text, where="x") == {
        "words": "",
        "faces": "faces/t.tsv",
        "digits": "digits/tensor.bytes",
    }
    assert tensor_paths("", where="x") == {}
