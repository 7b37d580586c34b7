"""`--encoder`: ours, a module's, or one that another package brings."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from encoding_doubles import ColourEncoder, write_pictures

from projector_export import PixelsEncoder
from projector_export.cli import main
from projector_export.encoding import choose
from projector_export.encoding.choose import load_encoder
from projector_export.errors import EncoderError, OptionError

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_names_give_encoders() -> None:
    """Ours by name, others by MODULE:NAME of a class, a function or an encoder."""
    assert isinstance(load_encoder("pixels"), PixelsEncoder)
    assert isinstance(load_encoder("encoding_doubles:ColourEncoder"), ColourEncoder)


def test_an_entry_point_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package's entry point in the group projector_export.encoders."""
    point = EntryPoint("colour", "encoding_doubles:ColourEncoder", choose.ENTRY_POINTS)

    def entry_points(*, group: str) -> list[EntryPoint]:
        assert group == "projector_export.encoders"
        return [point]

    monkeypatch.setattr(choose.importlib.metadata, "entry_points", entry_points)
    assert isinstance(load_encoder("colour"), ColourEncoder)
    with pytest.raises(EncoderError, match=r"no encoder 'clop'; .* MODULE:NAME, colour"):
        load_encoder("clop")


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("clop", {}, EncoderError, "there is no encoder 'clop'; expected one of clip, pixels"),
        ("no_such_module:X", {}, EncoderError, "ModuleNotFoundError"),
        ("encoding_doubles:Nope", {}, EncoderError, "has no attribute 'Nope'"),
        ("encoding_doubles:write_pictures", {}, EncoderError, "without arguments"),
        ("pathlib:PurePosixPath", {}, EncoderError, "has no describe, prepare, encode"),
        ("pixels", {"model": "ViT-B-32"}, OptionError, "--model does not belong to --encoder pix"),
        ("pixels", {"device": "cpu"}, OptionError, "--device does not belong"),
        ("clip", {"prefix": "query: "}, OptionError, "--prefix does not belong to --encoder clip"),
        ("clip", {"precision": "int4"}, EncoderError, "precision is 'int4'; expected auto, float"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, options: dict[str, str], error: type[Exception], message: str
) -> None:
    """Unknown input is refused, not guessed."""
    with pytest.raises(error, match=message):
        load_encoder(name, **options)  # type: ignore[arg-type]


def test_readmes_example_of_an_encoder_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """README's example, at most ten lines, exports a folder as README says."""
    (example,) = re.findall(r"```python\n(# my_encoder\.py\n.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 11
    write_pictures(tmp_path / "photos", 12)
    (tmp_path / "my_encoder.py").write_text(example, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (command,) = re.findall(r"projector-export (images photos .*my_encoder:.*)", README)
    with pytest.raises(SystemExit) as done:
        main([*command.split(), "--quiet"])
    assert done.value.code in (0, None)
    assert (tmp_path / "logs/photos/photos/tensor.bytes").stat().st_size > 0
