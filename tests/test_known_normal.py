"""Known-normal items: embedded with the same encoder, compared with, and shown on demand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from encoding_doubles import write_pictures
from PIL import Image

from projector_export.cli import main
from projector_export.sources.digits import DIGIT_WORDS, split_digits, write_digit_images

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def run(*argv: str) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main([*argv, "--quiet"])
    return int(done.value.code or 0)


def test_unknown_digits_rank_above_known_ones(tmp_path: Path) -> None:
    """Digits 0 to 4 as reference: 5 to 9 of the held-out split rank above them, AUROC >= 0.9."""
    pytest.importorskip("open_clip")
    from sklearn.metrics import roc_auc_score

    paths = write_digit_images(tmp_path / "all")
    words = [path.parent.name for path in paths]
    split = split_digits(words)
    known = set(DIGIT_WORDS[:5])
    for row in split.held_out:
        target = tmp_path / "new" / words[row]
        target.mkdir(parents=True, exist_ok=True)
        paths[row].rename(target / paths[row].name)
    for row in split.train:
        if words[row] in known:
            target = tmp_path / "normal" / words[row]
            target.mkdir(parents=True, exist_ok=True)
            paths[row].rename(target / paths[row].name)
    argv = ["images", str(tmp_path / "new"), str(tmp_path / "run"), "--model", "digits_clip"]
    assert run(*argv, "--normal", str(tmp_path / "normal"), "--umap-dims", "none") == 0
    points = pl.read_parquet(tmp_path / "run/new/points.parquet")
    assert len(points) == 540
    assert "known_normal" not in points.columns
    unknown = ~points["label"].is_in(list(known)).to_numpy()
    score = roc_auc_score(unknown, points["anomaly_reference"])
    print(f"AUROC of anomaly_reference, digits 5 to 9 against 0 to 4, held out: {score:.4f}")
    assert score >= 0.9
    said = points["anomaly_kind"].to_numpy() == "unlike_reference"
    assert said[unknown].mean() > 0.5
    assert said[~unknown].mean() < 0.1


@pytest.mark.parametrize("include", [False, True])
def test_rows_stay_with_their_items(tmp_path: Path, include: bool) -> None:
    """The known-normal items come after the others, marked, or not at all."""
    write_pictures(tmp_path / "new", 40)
    (tmp_path / "new/0007.png").write_bytes(b"broken")
    write_pictures(tmp_path / "normal", 30, first=100)
    (tmp_path / "normal/0105.png").write_bytes(b"broken")
    argv = ["images", str(tmp_path / "new"), str(tmp_path / "run"), "--thumbnail", "4"]
    argv += ["--normal", str(tmp_path / "normal"), "--encoder", "encoding_doubles:ColourEncoder"]
    argv += ["--metric", "euclidean", "--umap-dims", "none"]
    assert run(*argv, *(["--include-normal"] if include else [])) == 0
    points = pl.read_parquet(tmp_path / "run/new/points.parquet")
    normal = [i for i in range(100, 130) if i != 105]
    items = [i for i in range(40) if i != 7] + (normal if include else [])
    tensor = np.fromfile(tmp_path / "run/new/tensor.bytes", np.float32).reshape(-1, 4)
    assert tensor[:, 0].tolist() == items
    assert points["path"].to_list() == [f"{i:04d}.png" for i in items]
    sprite = np.asarray(Image.open(tmp_path / "run/new/sprite.png"))
    columns = sprite.shape[1] // 4
    reds = [int(sprite[i // columns * 4 + 2, i % columns * 4 + 2, 0]) for i in range(len(items))]
    assert reds == items
    # On a line with gaps of 1 the normal items' neighbours are as near as can be.
    scores = points["anomaly_reference"].to_numpy()
    assert scores[:39].min() > 1
    if include:
        assert points["known_normal"].to_list() == [False] * 39 + [True] * 29
        # At most the one in a hundred that the quantile gives up.
        assert (scores[39:] > 1).sum() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--include-normal"], "--include-normal shows the items of --normal, which is not given"),
        (["--normal", "normal", "--no-anomalies"], "which are switched off"),
        (["--normal", "one"], "one holds 1 images"),
        (["--normal", "nope"], "nope does not exist"),
        (["--normal", "bad"], "0 known-normal items of new can be read; expected at least 2"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], message: str,
) -> None:  # fmt: skip
    """One message, exit 1, nothing written."""
    write_pictures(tmp_path / "new", 5)
    write_pictures(tmp_path / "normal", 5)
    write_pictures(tmp_path / "one", 1)
    (tmp_path / "bad").mkdir()
    for name in "ab":
        (tmp_path / f"bad/{name}.png").write_bytes(b"broken")
    monkeypatch.chdir(tmp_path)
    encoder = ["--encoder", "encoding_doubles:ColourEncoder"]
    with pytest.raises(SystemExit) as done:
        main(["images", "new", "run", *encoder, *options])
    assert done.value.code == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
