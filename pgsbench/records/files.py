"""Names of the files of a run directory and of a study's folder: each is spelt here and nowhere else."""

from __future__ import annotations

#: Files of a run directory.
SPEC = "spec.json"
ENVIRONMENT = "env.json"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
SCORES = "scores.json"
SCORES_CSV = "scores.csv"
GALLERY = "gallery.npz"
DAMAGE = "damage.jsonl"
PINS = "shards.pins"
DONE = "DONE"
FAILED = "failed.json"
TRACEBACK = "failure.txt"
PRUNED = "pruned.json"
JOB = "job.json"

#: Folders of a run directory.
CHECKPOINT = "checkpoints/model"
STATE = "checkpoints/state"
FIGURES = "figures"
PROBES = "probes"
OTHER_SCORES = "scores"  # of the suites that the run was tested on before

#: A study's folder: what it consists of, and a folder with what steps took.
STUDY = "study.json"
TIMES = "times"

#: The file of a report's folder that others read.
VERDICT = "verdict.json"
