"""The best checkpoint of a study as a model version that MLflow loads."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_study import NewStore, Seen, write_fake_study, write_verdict
from tinyworld import picture, png

from pgsbench.errors import EvaluationError
from pgsbench.evaluation.pyfunc import Embedder
from pgsbench.models import checkpoint
from pgsbench.models.clip import build
from pgsbench.records.verdict_record import ScoreInterval, VerdictRecord
from pgsbench.tracking import mlflow_store
from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.mlflow_verdict import model_name

LABELS = ["none", "flip-0.5", "pgs"]


def test_the_best_checkpoint_is_a_version_with_the_verdict(
    tmp_path: Path, new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder, uri = write_fake_study(tmp_path, steps=1, num_seeds=2), new_store("store")
    report = write_verdict(tmp_path / "report", LABELS)
    verdict = VerdictRecord.read(report)
    assert verdict is not None
    scores = {
        label: {verdict.headline: ScoreInterval(0.5 + (label == "pgs") / 10, 0.4, 0.7)} for label in LABELS
    }
    replace(verdict, scores=scores).write(report)
    mirror = Mirror(uri)
    assert mirror.sync_study(folder, report_folder=report).problem == ""

    seen = Seen(uri)
    (version,) = seen.client.search_model_versions("name = 'pgsbench-ratio'")
    assert version.run_id == seen.runs["pgs s1"].info.run_id  # the better of its two seeds
    assert version.description.startswith("pgs is better than none. 2 seeds.")
    assert "mlflow.pyfunc.load_model" in seen.client.get_registered_model("pgsbench-ratio").description

    replace(verdict, scores=scores, answer="Undecided.").write(report)
    assert mirror.sync_study(folder, report_folder=report).problem == ""
    (version,) = seen.client.search_model_versions("name = 'pgsbench-ratio'")
    assert version.description.startswith("Undecided.")
    assert {run.info.status for run in Seen(uri).runs.values()} == {"FINISHED"}
    assert "MLFLOW_TRACKING_URI" not in os.environ
    (weights,) = (tmp_path / "store").rglob("*.safetensors")  # of the best alone

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = mlflow_store.download("models:/pgsbench-ratio/1", tmp_path / "here")
    assert (found / weights.name).read_bytes() == weights.read_bytes()


def test_a_study_of_any_name_has_a_model(new_store: NewStore) -> None:
    seen = mlflow_store.client_of(new_store("store"))
    for study in ("scale-x0.5", "a b:c/d"):
        assert seen.create_registered_model(model_name(study)).name.startswith("pgsbench-")


def test_a_checkpoint_embeds_pictures_and_texts(tmp_path: Path) -> None:
    checkpoint.save(build("tiny-vit", seed=0), tmp_path / "model")
    file = tmp_path / "a.png"
    file.write_bytes(png(picture(0)[0]))
    model = Embedder(tmp_path / "model")
    texts = model.predict({"text": ["a red square", "a blue square"]})
    pictures = model.predict({"picture": [file, file.read_bytes()]})
    assert np.linalg.norm(texts, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
    assert pictures.shape == texts.shape
    assert (pictures[0] == pictures[1]).all()
    with pytest.raises(EvaluationError, match="text or picture"):
        model.predict({"words": ["red"]})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow warns of its own types
def test_mlflow_loads_the_newest_version(
    tmp_path: Path, new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import pandas as pd

    folder, uri = write_fake_study(tmp_path, steps=1), new_store("store")
    for path in folder.glob("*/checkpoints/model"):
        checkpoint.save(build("tiny-vit", seed=0), path)
    report = write_verdict(tmp_path / "report", LABELS)
    assert Mirror(uri).sync_study(folder, report_folder=report).problem == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    model = mlflow.pyfunc.load_model("models:/pgsbench-ratio/latest")
    found = model.predict(pd.DataFrame({"text": ["a red square", "a blue square"]}))
    assert np.linalg.norm(found, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
