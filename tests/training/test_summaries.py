"""What a recorded step shows in TensorBoard's other tabs: which tags, which tiles, which table."""

from __future__ import annotations

import html
import io
import re

import numpy as np
import polars as pl
import pytest
from PIL import Image

from projector_export.analysis.neighbors import build_graph, prepare_vectors
from projector_export.analysis.snapshot import Snapshot
from projector_export.points import Points
from projector_export.training.summaries import (
    Numbers,
    Summary,
    cluster_table,
    contact_strip,
    escape_cell,
    summarize,
    top_rows,
)

N = 40
SCALARS = {
    "label_accuracy",
    "label_silhouette",
    "effective_rank",
    "mean_movement",
    "neighbours_kept",
    "anomaly_share",
}
TILE = 8


def _points(*, drop: tuple[str, ...] = (), order: np.ndarray | None = None) -> Points:
    """Forty points with all columns; tile i is of one colour that says i."""
    rng = np.random.default_rng(0)
    columns = pl.DataFrame(
        {
            "label": ["cat", "dog"] * (N // 2),
            "cluster": ["cluster_00"] * 30 + ["cluster_01"] * 10,
            "cluster_name": ["cat (50 %)"] * 30 + ["dog (50 %)"] * 10,
            "anomaly": np.arange(N) / (N - 1),
            "anomaly_kind": ["normal"] * 36 + ["local", "global", "group", "local"],
            "movement": np.linspace(20, 0, N, dtype=np.float32),
            "neighbours_kept": np.linspace(0, 1, N, dtype=np.float32),
        }
    ).drop(drop)
    tiles = np.full((N, TILE, TILE, 4), 255, dtype=np.uint8)
    tiles[..., 0] = np.arange(N)[:, None, None]
    vectors = rng.standard_normal((N, 5)).astype(np.float32)
    vectors[::2] += 2
    points = Points(vectors, columns, name="e", thumbnails=tiles)
    return points if order is None else points.take(order)


def _summarize(
    points: Points, *, first: bool = False, numbers: Numbers | None = None, name: str = "e"
) -> Summary:
    prepared = prepare_vectors(points.vectors, "cosine")
    snapshot = Snapshot(prepared, build_graph(prepared, k=15), {}, None)
    return summarize(
        points, snapshot=snapshot, step=7, name=name, first=first, metric="cosine", numbers=numbers
    )


def _strip_reds(png: bytes) -> list[int]:
    """The red value in the middle of each of the 16 tiles, in reading order."""
    strip = np.asarray(Image.open(io.BytesIO(png)))
    pitch = (strip.shape[1] - 2) // 4
    return [
        int(strip[2 + r * pitch + 20, 2 + c * pitch + 20, 0]) for r in range(4) for c in range(4)
    ]


class TestSummarize:
    """Tags `projector/<name>/...`; what there is nothing of is left out."""

    def test_all_scalars_with_all_columns(self) -> None:
        """The six numbers, of the step."""
        from sklearn.metrics import silhouette_score

        points = _points()
        summary = _summarize(points, name="layer 3")
        assert summary.step == 7
        assert set(summary.scalars) == {f"projector/layer 3/{tag}" for tag in SCALARS}
        value = {tag.rpartition("/")[2]: number for tag, number in summary.scalars.items()}
        assert value["mean_movement"] == pytest.approx(10)
        assert value["neighbours_kept"] == pytest.approx(0.5)
        assert value["anomaly_share"] == 0.1
        assert 0.5 < value["label_accuracy"] <= 1
        direct = silhouette_score(
            points.vectors.astype(np.float64), ["cat", "dog"] * (N // 2), metric="cosine"
        )
        assert value["label_silhouette"] == pytest.approx(direct, abs=1e-9)
        covariance = np.cov(points.vectors.T.astype(np.float64))
        assert value["effective_rank"] == pytest.approx(
            np.trace(covariance) ** 2 / np.square(covariance).sum(), rel=1e-9
        )

    def test_nothing_has_moved_at_the_first_step(self) -> None:
        """Not mean_movement at the first step, nor pictures of what moved most."""
        summary = _summarize(_points(), first=True)
        assert set(summary.scalars) == {f"projector/e/{t}" for t in SCALARS - {"mean_movement"}}
        assert set(summary.images) == {"projector/e/most_unusual"}

    def test_what_is_switched_off_is_left_out(self) -> None:
        """Some columns may be missing with settings off."""
        missing = ("cluster", "cluster_name", "anomaly", "anomaly_kind")
        summary = _summarize(_points(drop=(*missing, "movement", "neighbours_kept")))
        kept = {"label_accuracy", "label_silhouette", "effective_rank"}
        assert set(summary.scalars) == {f"projector/e/{tag}" for tag in kept}
        assert summary.images == {}
        assert summary.texts == {}

    def test_labels_that_do_not_repeat_give_no_label_numbers(self) -> None:
        """Both None where labels do not repeat."""
        points = _points().with_columns(pl.DataFrame({"label": [f"row {i}" for i in range(N)]}))
        summary = _summarize(points)
        absent = {"label_accuracy", "label_silhouette"}
        assert set(summary.scalars) == {f"projector/e/{tag}" for tag in SCALARS - absent}
        assert (
            "| cluster&#95;00 | cat (50 %) | 30 |  | 0 |" in summary.texts["projector/e/clusters"]
        )

    def test_a_number_that_is_none_is_left_out(self) -> None:
        """Charts hold finite numbers only."""
        columns = pl.DataFrame(
            {
                "movement": [float("nan")] * N,
                "neighbours_kept": pl.Series([None] * N, dtype=pl.Float32),
            }
        )
        scalars = _summarize(_points().with_columns(columns)).scalars
        assert "projector/e/effective_rank" in scalars
        assert not {"projector/e/mean_movement", "projector/e/neighbours_kept"} & set(scalars)

    @pytest.mark.parametrize(
        ("numbers", "sizes"),
        [
            (Numbers(), (6, 2, 1)),
            (Numbers(scalars=False), (0, 2, 1)),
            (Numbers(images=False), (6, 0, 1)),
            (Numbers(texts=False), (6, 2, 0)),
            (Numbers(scalars=False, images=False), (0, 0, 1)),
            (Numbers(scalars=False, images=False, texts=False), (0, 0, 0)),
        ],
    )
    def test_each_kind_can_be_switched_off(
        self, numbers: Numbers, sizes: tuple[int, int, int]
    ) -> None:
        """`numbers` may be switched off as a whole or by kind."""
        summary = _summarize(_points(), numbers=numbers)
        assert (len(summary.scalars), len(summary.images), len(summary.texts)) == sizes
        assert numbers.any == (sizes != (0, 0, 0))

    def test_without_thumbnails_there_are_no_images(self) -> None:
        """Images only with thumbnails."""
        points = _points()
        bare = Points(points.vectors, points.columns, name="e")
        assert _summarize(bare).images == {}
        assert len(_summarize(bare).texts) == 1

    def test_the_strips_show_the_most_unusual_and_the_most_moved(self) -> None:
        """The 16 top items; tile i is thumbnail i."""
        images = _summarize(_points()).images
        assert _strip_reds(images["projector/e/most_unusual"]) == list(range(39, 23, -1))
        assert _strip_reds(images["projector/e/most_moved"]) == list(range(16))

    def test_permuting_items_changes_nothing(self) -> None:
        """Rows never slip: the same items are most unusual, with the same pictures."""
        order = np.random.default_rng(5).permutation(N)
        one, other = _summarize(_points()), _summarize(_points(order=order))
        assert other.images == one.images
        assert other.texts == one.texts
        assert set(other.scalars) == set(one.scalars)
        for tag, number in one.scalars.items():
            assert other.scalars[tag] == pytest.approx(number, rel=1e-6)


class TestStrip:
    """4 x 4 tiles, enlarged by whole factors, transparency on a neutral background."""

    def test_small_tiles_are_enlarged_pixel_by_pixel(self) -> None:
        """An 8 px tile becomes 64 px: every pixel a square of 8."""
        tiles = np.zeros((1, 8, 8, 4), dtype=np.uint8)
        tiles[..., 3] = 255
        tiles[0, 0, 1, :3] = (250, 10, 30)
        strip = np.asarray(Image.open(io.BytesIO(contact_strip(tiles))))
        assert strip.shape == (64 + 4, 4 * 66 + 2, 3)
        assert (strip[2:10, 10:18] == (250, 10, 30)).all()
        assert (strip[2:66, 2:66] == (250, 10, 30)).all(axis=2).sum() == 64
        assert (strip[10:66, 2:66] == 0).all()
        assert (strip[:, 66:] == 224).all()

    @pytest.mark.parametrize(
        ("tile_px", "side"), [(1, 64), (28, 84), (48, 96), (64, 64), (100, 100)]
    )
    def test_tiles_are_enlarged_by_the_least_whole_factor(self, tile_px: int, side: int) -> None:
        """To a legible size, by whole factors; large ones stay."""
        tiles = np.zeros((5, tile_px, tile_px, 4), dtype=np.uint8)
        with Image.open(io.BytesIO(contact_strip(tiles))) as strip:
            assert strip.size == (4 * (side + 2) + 2, 2 * (side + 2) + 2)

    def test_transparency_becomes_grey(self) -> None:
        """Transparent -> neutral background, half transparent half way."""
        tiles = np.zeros((2, 64, 64, 4), dtype=np.uint8)
        tiles[1, ..., 3] = 128
        strip = np.asarray(Image.open(io.BytesIO(contact_strip(tiles))))
        assert (strip[2:66, 2:66] == 224).all()
        assert (strip[2:66, 68:132] == 112).all()

    def test_the_largest_come_first_and_missing_ones_never(self) -> None:
        """Ties in the order of the rows; missing values have no place."""
        values = pl.Series([1.0, None, 3.0, float("nan"), 3.0, -2.0])
        assert top_rows(values).tolist() == [2, 4, 0, 5]
        assert top_rows(pl.Series([0.5, 0.7] * 50)).tolist() == list(range(1, 33, 2))
        assert top_rows(pl.Series(np.arange(100))).tolist() == list(range(99, 83, -1))


class TestTable:
    """cluster | name | points | most frequent labels with shares | anomalies."""

    def test_the_table_literally(self) -> None:
        """Largest cluster first, then by name; shares of all members, rounded down."""
        frame = pl.DataFrame(
            {
                "label": ["b", "b", "a", "c", "d", None, "e", "a", "a", "b", "b", "a"],
                "cluster": ["k2"] * 7 + ["k1"] * 2 + ["k0"] * 2 + ["k9"],
                "cluster_name": ["two"] * 7 + ["one"] * 2 + ["nil"] * 2 + ["last"],
                "anomaly_kind": ["normal", "local", "group", *["normal"] * 8, "global"],
            }
        )
        assert cluster_table(frame).splitlines() == [
            "| cluster | name | points | most frequent labels | anomalies |",
            "| --- | --- | ---: | --- | ---: |",
            "| k2 | two | 7 | b (28 %), a (14 %), c (14 %) | 2 |",
            "| k0 | nil | 2 | b (100 %) | 0 |",
            "| k1 | one | 2 | a (100 %) | 0 |",
            "| k9 | last | 1 | a (100 %) | 1 |",
        ]
        bare = cluster_table(frame.drop("cluster_name", "anomaly_kind")).splitlines()
        assert bare[5] == "| k9 |  | 1 | a (100 %) |  |"

    def test_at_most_fifty_clusters_are_listed(self) -> None:
        """The largest fifty; the rest is counted."""
        clusters = [f"c{i:03d}" for i in range(57) for _ in range(60 - i)]
        frame = pl.DataFrame({"label": ["x", "y"] * (len(clusters) // 2), "cluster": clusters})
        lines = cluster_table(frame).splitlines()
        assert len(lines) == 2 + 50 + 2
        assert lines[51].startswith("| c049 |")
        assert lines[53] == "7 smaller clusters are not listed."

    HOSTILE = (
        "a|b", "`code`", "<script>alert(1)</script>", "**bold**", "_x_", "[a](javascript:alert(1))",
        "![i](http://h/x.png)", "one\ntwo\r\nthree", "&lt;b&gt;", "\\|", "a\\", "# head", "- item",
        "---", ":-:", "| --- |", "<!-- c -->", "https://h.example/x", "x\x02y\x03z", "日本語 ☃",
        "$x^2$", "~~s~~", '"q" \'s\'', "{.cls}", "\u202egnp.exe", "",
    )  # fmt: skip

    @pytest.mark.filterwarnings("ignore:html5lib's sanitizer:DeprecationWarning")
    @pytest.mark.parametrize("text", HOSTILE)
    def test_text_from_data_is_shown_as_it_is(self, text: str) -> None:
        """Every cell is escaped for markdown and HTML, as TensorBoard's Text plugin shows it."""
        from tensorboard.plugin_util import markdown_to_safe_html

        frame = pl.DataFrame(
            {
                "label": [text, text, "z", "z"],
                "cluster": [text] * 3 + ["last"],
                "cluster_name": [text] * 3 + ["last"],
                "anomaly_kind": ["normal"] * 4,
            }
        )
        page = markdown_to_safe_html(cluster_table(frame))
        shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        labels = f"{shown} (66 %), z (33 %)" if shown else ""
        cells = [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", page)]
        assert cells[:5] == [shown, shown, "3", labels, "0"]
        assert len(cells) == 10
        tags = set(re.findall(r"<(/?\w+)", page))
        assert tags <= {
            f"{end}{tag}" for end in ("", "/") for tag in "table thead tbody tr th td".split()
        }

    def test_long_texts_are_cut(self) -> None:
        """A caption of a page must not push the numbers out of sight."""
        assert escape_cell("x" * 61) == "x" * 59 + "&#8230;"
        assert escape_cell("|" * 60) == "&#124;" * 60
