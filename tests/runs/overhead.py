"""Processor time of runs beside training and evaluation: ``python tests/runs/overhead.py``, on scenes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from pgsbench import experiment
from pgsbench.study.open import open_by_name
from pgsbench.study.plan import Planner


def main() -> None:
    torch.set_num_threads(1)
    evaluate, used = experiment.evaluate, list[float]()

    def timed(*args: Any, **options: Any) -> Any:
        began = time.process_time()
        done = evaluate(*args, **options)
        used.append(time.process_time() - began)
        return done

    experiment.evaluate = timed
    study = open_by_name("quick", overrides=["training.samples=320", "seeds=[0, 1, 2]"])
    root = Path(tempfile.mkdtemp())
    for spec in Planner(study).specs(["pgs"]):
        began = time.process_time()
        run = experiment.run_once(spec, runs_root=root, device=torch.device("cpu"))
        whole = time.process_time() - began
        assert run.summary is not None
        rest = whole - run.summary.train_cpu_seconds - used[-1]
        print(f"{spec.name}: {rest:.1f} s beside training and evaluation, {whole:.1f} s in all", flush=True)


if __name__ == "__main__":
    main()
