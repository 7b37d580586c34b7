from __future__ import annotations

import pickle
import re
import sys
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from projector_export.errors import (
    DataError,
    InputNotFoundError,
    MissingExtraError,
    OptionError,
)
from projector_export.sources.checkpoints import Checkpoint, list_checkpoints, read_tensor

VALUES = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.5, 0.25, -8.0], [0.0, 7.0, 9.0]]  # exact in 16 bits
KEY = "model.embedding.weight"


def _tensor(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(VALUES).to(dtype)


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _listed(folder: Path, pattern: str, **options: Any) -> list[tuple[str, int]]:
    found = list_checkpoints(f"{folder}/{pattern}", **options)
    return [(c.path.relative_to(folder).as_posix(), c.step) for c in found]


# --- which files, and which steps ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("epoch=3-step=500.ckpt", 500),
        ("epoch=3-step=500-v1.ckpt", 500),
        ("step=500-epoch=3.ckpt", 500),
        ("step_500.pt", 500),
        ("step-500.pt", 500),
        ("step500.pt", 500),
        ("Step 500 of 900.pt", 500),
        ("global_step500_rank3.pt", 500),
        ("model_steps_500_of_900.safetensors", 500),
        ("step_00000010.pt", 10),
        ("step_0.pt", 0),
        ("model_7.pt", 7),
        ("model-v2-e10.pt", 10),
        ("resnet18.100.pt", 100),
        ("12.safetensors", 12),
        ("epoch=4.ckpt", 4),
        ("epoch=4-v1.ckpt", 4),
        ("epoch=4-val_loss=0.25.ckpt", 4),
        ("epoch=4-val_loss=-1.25e-05.ckpt", 4),
        ("epoch=4-val_loss=0.25-v2.ckpt", 4),
        ("model-v2.pt", 2),
        ("model_3-v2.pt", 2),
        ("step_name_9.pt", 9),
        ("checkpoint-1000/model.safetensors", 1000),
        ("checkpoint-1000/pytorch_model.bin", 1000),
        ("checkpoint-1000/weights/model.pt", 1000),
        ("checkpoint-1000/model.h5", 1000),
        ("step_500_of_900/model.pt", 500),
        ("checkpoint-1000/model_5.pt", 5),
        ("12345678901234567890.pt", 12345678901234567890),
    ],
)
def test_the_step_is_read_from_the_name(name: str, step: int, tmp_path: Path) -> None:
    """The number after `step` in the file's name, else the last whole number in the name without
    its ending, else the same of the nearest folder that has one.
    """  # noqa: D205
    _touch(tmp_path, name)
    assert _listed(tmp_path, name) == [(name, step)]


def test_checkpoints_are_sorted_by_step_not_by_name(tmp_path: Path) -> None:
    """Ascending: 9 comes before 10, though its text comes after."""
    _touch(tmp_path, "step_10.pt", "step_9.pt", "step_100.pt")
    assert list_checkpoints(f"{tmp_path}/*.pt") == [
        Checkpoint(tmp_path / "step_9.pt", 9),
        Checkpoint(tmp_path / "step_10.pt", 10),
        Checkpoint(tmp_path / "step_100.pt", 100),
    ]


def test_two_stars_match_folders_at_every_depth(tmp_path: Path) -> None:
    """`**` matches folders at every depth; each file is listed once."""
    _touch(tmp_path, "m_1.pt", "a/m_2.pt", "a/b/m_3.pt", "a/b/m_4.txt")
    expected = [("m_1.pt", 1), ("a/m_2.pt", 2), ("a/b/m_3.pt", 3)]
    assert _listed(tmp_path, "**/*.pt") == expected
    assert _listed(tmp_path, "**/**/*.pt") == expected


def test_a_relative_pattern_gives_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is one that opens from where the pattern was given."""
    _touch(tmp_path, "run/checkpoint-5/model.pt", "run/checkpoint-20/model.pt")
    monkeypatch.chdir(tmp_path)
    assert list_checkpoints("run/*/model.pt") == [
        Checkpoint(Path("run/checkpoint-5/model.pt"), 5),
        Checkpoint(Path("run/checkpoint-20/model.pt"), 20),
    ]


def test_folders_are_no_checkpoints(tmp_path: Path) -> None:
    """Folders are not matched as files, and the message says what to add."""
    _touch(tmp_path, "step_1/model.pt", "step_2/model.pt", "step_3")
    assert _listed(tmp_path, "step_*") == [("step_3", 3)]
    (tmp_path / "step_3").unlink()
    with pytest.raises(InputNotFoundError, match=r"2 folders: add .*step_\*/model\.safetensors"):
        list_checkpoints(f"{tmp_path}/step_*")


def test_no_match_is_refused(tmp_path: Path) -> None:
    """InputNotFoundError: no file matches; a link that leads nowhere is no file."""
    (tmp_path / "m_1.pt").symlink_to(tmp_path / "gone.pt")
    with pytest.raises(InputNotFoundError, match=re.escape(f"no file matches '{tmp_path}/*.pt'")):
        list_checkpoints(f"{tmp_path}/*.pt")


@pytest.mark.parametrize("link", ["latest", "a_latest", "zz-7"])
def test_a_link_to_a_listed_file_is_left_out(link: str, tmp_path: Path) -> None:
    """A link to a file that also matches by itself is left out, whatever it is called."""
    _touch(tmp_path, "checkpoint-10/model.pt", "checkpoint-20/model.pt")
    (tmp_path / link).symlink_to(tmp_path / "checkpoint-20")
    expected = [("checkpoint-10/model.pt", 10), ("checkpoint-20/model.pt", 20)]
    assert _listed(tmp_path, "*/model.pt") == expected


def test_folders_that_all_files_share_give_no_step(tmp_path: Path) -> None:
    """Only folders from the pattern's first wildcard on are looked at."""
    _touch(tmp_path, "run_7/model.pt", "run_7/checkpoint-100/model.pt")
    with pytest.raises(DataError, match=r"run_7/model\.pt has no number that could be its step"):
        list_checkpoints(f"{tmp_path}/run_7/**/model.pt")


def test_a_file_without_a_number_among_numbered_ones_is_refused(tmp_path: Path) -> None:
    """Unknown input is refused, not guessed: Lightning's `last.ckpt` is not of step 0 because it
    lies in `version_0`.
    """  # noqa: D205
    files = ("version_0/epoch=1-step=20.ckpt", "version_0/last.ckpt")
    _touch(tmp_path, *files)
    with pytest.raises(DataError, match=r"last\.ckpt has no number in its name, where .*step=20"):
        list_checkpoints(f"{tmp_path}/*/*.ckpt")
    assert _listed(tmp_path, "*/epoch*.ckpt") == [(files[0], 20)]


def test_no_number_anywhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None found: DataError that says how to give a pattern."""
    _touch(tmp_path, "run/best.pt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"run/best\.pt has no number .* pattern with one group"):
        list_checkpoints("run/*.pt")


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("a/step_5.pt", "b/step_005.pt"), {}),
        (("a/model_5_1.pt", "b/model_5_2.pt"), {"step_pattern": r"model_(\d+)"}),
    ],
)
def test_two_files_of_one_step_are_refused(
    names: tuple[str, str], options: dict[str, str], tmp_path: Path
) -> None:
    """Two files with one step: DataError naming both."""
    _touch(tmp_path, *names, "a/model_9_step_9.pt")
    with pytest.raises(DataError, match="both of step 5; expected one file a step") as caught:
        list_checkpoints(f"{tmp_path}/**/*.pt", **options)
    assert all(f"{tmp_path}/{name}" in str(caught.value) for name in names)


def test_the_users_pattern_decides(tmp_path: Path) -> None:
    """The first group of step_pattern, searched in the path, is the step."""
    _touch(tmp_path, "e2/run_step_9.pt", "e1/run_step_8.pt")
    expected = [("e1/run_step_8.pt", 1), ("e2/run_step_9.pt", 2)]
    assert _listed(tmp_path, "*/*.pt", step_pattern=r"/e(\d+)/run_(step)") == expected


@pytest.mark.parametrize(
    ("step_pattern", "message"),
    [
        (r"epoch(\d+)", r"'epoch\(\\d\+\)' finds nothing in m_1\.pt; match"),
        (r"(m)_", r"finds 'm', which is no whole number, in m_1\.pt; match"),
        (r"m_(x)?", "finds nothing in"),
        (r"(m_1)", "finds 'm_1', which is no whole number"),
        (r"m(.*)_", r"finds '', which is no whole number"),
    ],
)
def test_a_pattern_that_finds_no_number_is_refused(
    step_pattern: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file has no step: DataError with the file and the pattern."""
    _touch(tmp_path, "m_1.pt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        list_checkpoints("*.pt", step_pattern=step_pattern)


@pytest.mark.parametrize(
    ("step_pattern", "message"),
    [("m_(", "no regular expression"), (r"m_\d+", "has no group"), ("", "has no group")],
)
def test_a_bad_pattern_is_refused(step_pattern: str, message: str, tmp_path: Path) -> None:
    """OptionError: step_pattern is no regular expression, or has no group; files or not."""
    with pytest.raises(OptionError, match=message):
        list_checkpoints(f"{tmp_path}/*.pt", step_pattern=step_pattern)


# --- one matrix out of a file -------------------------------------------------------------------


def _save(path: Path, tensors: dict[str, Any]) -> Path:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".PT"])
def test_every_file_type_gives_the_matrix(suffix: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """(rows, columns), row for row as saved, of the tensor's type; bfloat16 becomes float32."""
    path = _save(tmp_path / f"m{suffix}", {"other": torch.ones(4, 3), KEY: _tensor(dtype)})
    array = read_tensor(path, KEY)
    assert array.tolist() == VALUES
    expected = {torch.float16: np.float16, torch.float64: np.float64}
    assert array.dtype == expected.get(dtype, np.float32)
    assert array.flags.c_contiguous
    assert array.flags.writeable


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_permuted_rows_stay_permuted(suffix: str, tmp_path: Path) -> None:
    """Row i of the array is row i of the tensor."""
    order = [2, 0, 3, 1]
    path = _save(tmp_path / f"m{suffix}", {KEY: _tensor()[order].contiguous()})
    assert read_tensor(path, KEY).tolist() == [VALUES[i] for i in order]


@pytest.mark.parametrize(
    "nest",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors, "epoch": 3, "optimizer_states": [{"lr": 0.1}]},
        lambda tensors: {"model": tensors, "config": {"name": "a"}},
        lambda tensors: {"trainer": {"model": {"module": tensors}}},
    ],
)
@pytest.mark.parametrize("name", [KEY, "embedding.weight"])
def test_nested_dicts_are_looked_through(nest: Any, name: str, tmp_path: Path) -> None:
    """A dict of tensors, or of such dicts; the key may be given by its end."""
    tensors = {KEY: torch.nn.Parameter(_tensor()), "model.head.weight": torch.ones(2, 3)}
    path = _save(tmp_path / "m.ckpt", nest(tensors))
    assert read_tensor(path, name).tolist() == VALUES


def test_keys_are_joined_by_dots(tmp_path: Path) -> None:
    """The full key is that of every dict on the way, numbers too."""
    tree = {"ema": {0: {"e": torch.ones(2, 2)}, 1: {"e": _tensor()}}}
    assert read_tensor(_save(tmp_path / "m.pt", tree), "ema.1.e").tolist() == VALUES


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_whole_key_wins_over_an_end(suffix: str, tmp_path: Path) -> None:
    """The tensor's key, or an end of it: a key that is the name itself is no doubt."""
    path = _save(tmp_path / f"m{suffix}", {"a.e": torch.ones(2, 2), "e": _tensor()})
    assert read_tensor(path, "e").tolist() == VALUES


def test_files_from_before_archives_are_read(tmp_path: Path) -> None:
    """Files from before torch 1.6 are no archives, so they cannot be mapped; they are read."""
    path = tmp_path / "old.pt"
    torch.save({KEY: _tensor()}, path, _use_new_zipfile_serialization=False)
    assert read_tensor(path, KEY).tolist() == VALUES


def test_a_compressed_archive_is_read_right(tmp_path: Path) -> None:
    """A mapped file that was packed again would give its compressed bytes as numbers."""
    plain, packed = _save(tmp_path / "plain.pt", {KEY: _tensor()}), tmp_path / "packed.pt"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
    assert read_tensor(packed, KEY).tolist() == VALUES


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_array_is_a_copy(suffix: str, tmp_path: Path) -> None:
    """The file may be overwritten: a training that goes on replaces its checkpoints."""
    path = _save(tmp_path / f"m{suffix}", {KEY: _tensor()})
    array = read_tensor(path, KEY)
    size = path.stat().st_size
    with open(path, "r+b") as stream:
        stream.write(b"\1" * size)
    assert array.tolist() == VALUES


def test_other_tensors_are_not_loaded_from_torch_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the wanted matrix is read where the format allows it: the file is mapped."""
    calls: list[dict[str, Any]] = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: (calls.append(k), load(*a, **k))[1])
    read_tensor(_save(tmp_path / "m.pt", {KEY: _tensor()}), KEY)
    assert calls == [{"map_location": "cpu", "weights_only": True, "mmap": True}]


def test_other_tensors_are_not_loaded_from_safetensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads only that tensor: one that only torch could read is no hindrance without torch."""
    tensors = {"other": torch.ones(2, 2).to(torch.bfloat16), KEY: _tensor()}
    path = _save(tmp_path / "m.safetensors", tensors)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert read_tensor(path, KEY).tolist() == VALUES


def test_views_are_read_as_they_look(tmp_path: Path) -> None:
    """(rows, columns) as the tensor shows them, whatever its memory looks like."""
    wide = torch.tensor(VALUES).T.contiguous()
    path = _save(tmp_path / "view.pt", {KEY: wide.T, "row": wide[1:2]})
    array = read_tensor(path, KEY)
    assert array.tolist() == VALUES
    assert array.flags.c_contiguous
    assert read_tensor(path, "row").tolist() == [[2.0, 5.0, 0.25, 7.0]]


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


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
@pytest.mark.parametrize("how", ["saved", "before 1.6", "raw pickle"])
def test_pickled_objects_are_refused_without_running_them(
    suffix: str, how: str, tmp_path: Path
) -> None:
    """Nothing is ever unpickled, though the tensor itself would be harmless."""
    file, ran = tmp_path / f"m{suffix}", tmp_path / "ran"
    tree = {KEY: _tensor(), "hyper_parameters": Bomb(ran)}
    if how == "raw pickle":
        file.write_bytes(pickle.dumps(Bomb(ran), protocol=2))  # torch warns of later ones
    else:
        torch.save(tree, file, _use_new_zipfile_serialization=how == "saved")
    with pytest.raises(DataError, match="cannot be loaded with weights_only=True") as caught:
        read_tensor(file, KEY)
    assert not ran.exists()
    assert str(caught.value).startswith(f"{file} ")


def test_the_refused_object_is_named(tmp_path: Path) -> None:
    """The message says what was got and what to do, not how to switch the safety off."""
    path = _save(tmp_path / "m.ckpt", {KEY: _tensor(), "args": Namespace(lr=0.1)})
    with pytest.raises(DataError, match=r"argparse\.Namespace.*model\.state_dict\(\)") as caught:
        read_tensor(path, KEY)
    assert not re.search(r"\x1b|\n|add_safe_globals|set to `False`", str(caught.value))


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 40, -20])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_cut_off_is_refused(suffix: str, kept: int, tmp_path: Path) -> None:
    """A training killed while saving leaves our error with one message, not a traceback."""
    path = _save(tmp_path / f"m{suffix}", {KEY: _tensor()})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"{path} cannot be (loaded|read)"):
        read_tensor(path, KEY)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_garbage_is_refused(suffix: str, tmp_path: Path) -> None:
    """DataError: not readable; says where."""
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"<html>404</html>" * 20)
    with pytest.raises(DataError, match=rf"{path} cannot be (loaded|read)"):
        read_tensor(path, KEY)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_end_of_several_keys_is_refused(suffix: str, tmp_path: Path) -> None:
    """Ambiguous: DataError listing the candidates with shapes."""
    tensors = {"a.e.weight": torch.ones(4, 3), "b.e.weight": torch.ones(5, 2)}
    tensors["be.weight"] = torch.ones(9, 9)  # its end is no part of its own
    path = _save(tmp_path / f"m{suffix}", tensors)
    with pytest.raises(DataError, match=r"2 tensors that end in 'e\.weight'; give more") as caught:
        read_tensor(path, "e.weight")
    assert str(caught.value).endswith("key: 'a.e.weight' (4, 3), 'b.e.weight' (5, 2)")


def test_a_key_that_two_dicts_make_is_refused(tmp_path: Path) -> None:
    """Several tensors of that name, even where it is whole."""
    path = _save(tmp_path / "m.pt", {"a.e": _tensor(), "a": {"e": torch.ones(2, 2)}})
    with pytest.raises(DataError, match=r"2 tensors that end in 'a\.e'"):
        read_tensor(path, "a.e")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("embeding.weight", f"close to it: '{KEY}' (4, 3)"),
        ("EMBEDDING.WEIGHT", f"close to it: '{KEY}' (4, 3)"),
        ("embedding", f"close to it: '{KEY}' (4, 3)"),
        ("tokens", f"it has 'head.w' (2, 5), '{KEY}' (4, 3)"),
        ("", f"it has 'head.w' (2, 5), '{KEY}' (4, 3)"),
        (KEY + ".x", f"close to it: '{KEY}' (4, 3)"),
    ],
)
def test_a_missing_key_is_refused_with_what_there_is(
    suffix: str, name: str, answer: str, tmp_path: Path
) -> None:
    """Missing: DataError listing close or all 2-D candidates with shapes."""
    tensors = {"head.w": torch.ones(2, 5), KEY: _tensor(), "embedding.bias": torch.ones(4)}
    path = _save(tmp_path / f"m{suffix}", tensors)
    with pytest.raises(DataError, match=re.escape(f"{path} has no tensor {name!r}; ")) as caught:
        read_tensor(path, name)
    assert str(caught.value).endswith(f"; {answer}")


def test_a_close_key_is_found_by_its_end(tmp_path: Path) -> None:
    """Close candidates: however long the key before that end."""
    key = "trainer.state_dict.module.text_encoder.transformer.wte.weight"
    path = _save(tmp_path / "m.safetensors", {key: _tensor(), "h.bias": torch.ones(2, 2)})
    with pytest.raises(DataError, match=rf"; close to it: '{key}' \(4, 3\)$"):
        read_tensor(path, "wtee.weight")


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    """One clear message: a large model's keys would fill screens."""
    tensors = {f"layer{i:03}": torch.ones(2, 2) for i in range(150)}
    path = _save(tmp_path / "m.safetensors", tensors)
    with pytest.raises(DataError, match=r"'layer019' \(2, 2\) and 130 more$"):
        read_tensor(path, "tokens")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_no_matrix_is_refused_with_its_shape(suffix: str, tmp_path: Path) -> None:
    """Not 2-D: DataError with shape; a convolution's weight is no table."""
    tensors = {"conv.weight": torch.ones(8, 3, 5, 5), "norm.weight": torch.ones(8)}
    path = _save(tmp_path / f"m{suffix}", tensors)
    with pytest.raises(DataError, match=r"'conv\.weight', is of shape \(8, 3, 5, 5\); expected 2"):
        read_tensor(path, "conv.weight")
    with pytest.raises(DataError, match=r"is of shape \(8,\).*no 2-D tensor among its 2"):
        read_tensor(path, "norm.weight")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_dtype_that_numpy_does_not_have_is_refused(suffix: str, tmp_path: Path) -> None:
    """DataError: of a type that NumPy does not have; float8 has none."""
    path = _save(tmp_path / f"m{suffix}", {KEY: _tensor(torch.float8_e4m3fn)})
    with pytest.raises(DataError, match=r"holds torch\.float8_e4m3fn; convert it to float32"):
        read_tensor(path, KEY)


def test_a_tensor_without_a_name_is_refused(tmp_path: Path) -> None:
    """Expected a dict of tensors; says how to save one."""
    torch.save(_tensor(), tmp_path / "m.pt")
    with pytest.raises(DataError, match=r"holds Tensor without a name; .*\{'e': tensor\}, path"):
        read_tensor(tmp_path / "m.pt", "e")


def test_dicts_that_hold_themselves_do_no_harm(tmp_path: Path) -> None:
    """A hostile file's dicts may hold themselves: the search ends."""
    tree: dict[str, Any] = {"e": _tensor()}
    tree["self"] = tree
    path = _save(tmp_path / "m.pt", tree)
    assert read_tensor(path, "e").tolist() == VALUES
    with pytest.raises(DataError, match="has no tensor 'x'"):
        read_tensor(path, "x")


def test_keys_are_shown_escaped(tmp_path: Path) -> None:
    """Text from data never reaches the terminal as it is."""
    path = _save(tmp_path / "m.pt", {"a\x1b[2J\n": _tensor()})
    with pytest.raises(DataError, match=r"'a\\x1b\[2J\\n' \(4, 3\)"):
        read_tensor(path, "x")


def test_other_endings_are_refused(tmp_path: Path) -> None:
    """DataError: no such file type; the types are named."""
    _touch(tmp_path, "m.h5")
    with pytest.raises(DataError, match=r"ends in '\.h5'; .* \.pt \.pth \.ckpt \.bin \.safetens"):
        read_tensor(tmp_path / "m.h5", KEY)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_missing_file_is_refused(suffix: str, tmp_path: Path) -> None:
    """InputNotFoundError: no such file."""
    with pytest.raises(InputNotFoundError, match="does not exist"):
        read_tensor(tmp_path / f"m{suffix}", KEY)


@pytest.mark.parametrize("file", ["m.pt", "m.safetensors"])
def test_without_torch_the_extra_is_named(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MissingExtraError: torch is needed and not installed; float32 safetensors need none."""
    path = _save(tmp_path / file, {KEY: _tensor(torch.bfloat16)})
    plain = _save(tmp_path / "plain.safetensors", {KEY: _tensor(torch.float16)})
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"needs torch.*projector-export\[training\]"):
        read_tensor(path, KEY)
    assert read_tensor(plain, KEY).tolist() == VALUES


def test_a_dict_that_holds_itself_many_times_ends(tmp_path: Path) -> None:
    """A small hostile file costs no time: no mapping is looked for in itself."""
    torch = pytest.importorskip("torch")
    tree: dict[str, object] = {"weight": torch.ones(3, 2)}
    for number in range(12):
        tree[f"again{number}"] = tree
    torch.save(tree, tmp_path / "loop.pt")
    assert read_tensor(tmp_path / "loop.pt", "weight").tolist() == [[1, 1]] * 3


def test_a_dict_under_two_names_has_both(tmp_path: Path) -> None:
    """As where the averaged weights are still the model's own."""
    torch = pytest.importorskip("torch")
    weights = {"weight": torch.tensor(VALUES)}
    torch.save({"model": weights, "ema": weights}, tmp_path / "shared.pt")
    for name in ("model.weight", "ema.weight"):
        assert read_tensor(tmp_path / "shared.pt", name).tolist() == VALUES


def test_dicts_are_looked_through_to_a_limit(tmp_path: Path) -> None:
    """Eight in each other; deeper ones, which no training writes, could use up the stack."""
    torch = pytest.importorskip("torch")
    tree: dict[str, object] = {"weight": torch.tensor(VALUES)}
    for _ in range(7):
        tree = {"in": tree}
    torch.save(tree, tmp_path / "deep.pt")
    assert read_tensor(tmp_path / "deep.pt", "weight").tolist() == VALUES
    torch.save({"in": tree}, tmp_path / "deeper.pt")
    with pytest.raises(DataError, match="no tensor"):
        read_tensor(tmp_path / "deeper.pt", "weight")
