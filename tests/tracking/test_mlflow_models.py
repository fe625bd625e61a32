"""The best checkpoint of a study as a model version that MLflow loads; the verdict on MLflow's own page."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_study import MakeStudy, Seen, fake_record, fake_run, fake_spec, write_verdict
from tinyworld import picture, png

from pgsbench.config.schema import StrategyConfig
from pgsbench.errors import EvaluationError
from pgsbench.evaluation.pyfunc import Embedder, _load_pyfunc
from pgsbench.models import checkpoint
from pgsbench.models.clip import build
from pgsbench.records.verdict_record import ScoreInterval, VerdictRecord
from pgsbench.tracking import mirror as mirror_module
from pgsbench.tracking import mlflow_models
from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.mlflow_server import Server, _links
from pgsbench.tracking.mlflow_views import study_path

NewStore = Callable[[str], str]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LABELS = ["none", "flip-0.5", "pgs"]


def test_the_best_checkpoint_is_a_version_with_the_verdict(
    tmp_path: Path, make_study: MakeStudy, new_store: NewStore
) -> None:
    folder, uri = make_study(tmp_path, steps=1, num_seeds=2), new_store("store")
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
    shown = [name for name, _ in _links(uri)]
    assert shown == [
        "ratio",
        *(f"ratio, {what}" for what in ("arms as a table", "runs as a table", "runs as charts")),
    ]


def test_an_oracle_is_no_model_whatever_its_arm_is_called(tmp_path: Path) -> None:
    plain = {"ceiling": fake_spec("ceiling"), "pgs": fake_spec("pgs", 1)}
    strategy = StrategyConfig.model_validate({"name": "oracle", "mask_ratio": 0.5})
    oracle = plain["ceiling"].config.model_copy(update={"strategy": strategy})
    specs = [replace(plain["ceiling"], config=oracle), plain["pgs"]]
    runs = {spec.folder: fake_run(tmp_path, spec, steps=1, done=True) for spec in specs}
    entries: dict[str, Any] = {spec.id: SimpleNamespace(sent={"model": spec.arm}) for spec in specs}
    verdict = VerdictRecord.read(write_verdict(tmp_path / "report", ["ceiling", "pgs"]))
    assert verdict is not None
    means = {"ceiling": 0.9, "pgs": 0.5}
    scores = {arm: {verdict.headline: ScoreInterval(mean, 0.0, 1.0)} for arm, mean in means.items()}
    verdict = replace(verdict, scores=scores)
    assert mlflow_models._best_model(fake_record(specs), runs, entries, verdict) == "pgs"


def test_only_a_folder_of_this_machine_is_linked_into(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"123")
    link = mlflow_models._link
    for location in ("mlflow-artifacts:/1/models/m-1", "s3://bucket/m-1", "dbfs:/m-1"):
        assert not link([tmp_path / "weights"], location)
    for number, location in enumerate([str(tmp_path / "plain"), (tmp_path / "as uri").as_uri()]):
        assert link([tmp_path / "weights"], location)
        assert link([tmp_path / "weights"], location), "again, after a process that died"
        assert (tmp_path / ("plain", "as uri")[number] / "weights").samefile(tmp_path / "weights")
    (tmp_path / "a file").touch()
    assert not link([tmp_path / "weights"], str(tmp_path / "a file"))


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

    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / mlflow_models.LINK).write_text(str(tmp_path / "model"))
    linked = _load_pyfunc(str(tmp_path / "linked")).predict({"text": ["a red square"]})
    assert linked[0] == pytest.approx(texts[0], abs=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow warns of its own types
@pytest.mark.parametrize("is_linked", [True, False])
def test_mlflow_loads_the_version_linked_or_named(
    tmp_path: Path,
    make_study: MakeStudy,
    new_store: NewStore,
    monkeypatch: pytest.MonkeyPatch,
    is_linked: bool,
) -> None:
    import mlflow
    import pandas as pd

    folder, uri = make_study(tmp_path, steps=1), new_store("store")
    for path in folder.glob("*/checkpoints/model"):
        checkpoint.save(build("tiny-vit", seed=0), path)
    monkeypatch.setattr(mirror_module, "MODEL_LIMIT_BYTES", 0)
    if not is_linked:
        monkeypatch.setattr(mlflow_models, "_link", lambda *_: False)
    report = write_verdict(tmp_path / "report", LABELS)
    assert Mirror(uri).sync_study(folder, report_folder=report).problem == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model("models:/pgsbench-ratio/latest")
    found = model.predict(pd.DataFrame({"text": ["a red square", "a blue square"]}))
    assert np.linalg.norm(found, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)


@contextmanager
def served(uri: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(uri, port=port)
    with subprocess.Popen(server.command(), env=server.environment()) as process:
        try:
            for _ in range(600):
                with suppress(OSError):
                    urllib.request.urlopen(f"{server.address}/health", timeout=5).close()
                    break
                time.sleep(0.5)
            yield server.address
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow warns of its own types
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open MLflow in")
def test_a_browser_reads_the_verdict_off_mlflows_page(
    tmp_path: Path, make_study: MakeStudy, new_store: NewStore
) -> None:
    folder, uri = make_study(tmp_path), new_store("store")
    report = write_verdict(tmp_path / "report", LABELS)
    assert Mirror(uri).sync_study(folder, report_folder=report).problem == ""
    seen = Seen(uri)
    page = study_path(seen.experiment.experiment_id, seen.runs["ratio"].info.run_id)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    flags += ["--virtual-time-budget=60000", "--timeout=120000", "--dump-dom"]
    with served(uri) as address:
        done = subprocess.run(
            [str(CHROMIUM), *flags, f"{address}/{page}"],
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
    words = re.sub(r"<[^>]+>", " ", done.stdout)
    assert "pgs is better than none." in words
