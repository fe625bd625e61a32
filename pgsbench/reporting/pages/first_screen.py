"""What the first screen of a report says, and others repeat: the answer, how sure, on what data."""

from __future__ import annotations

from pgsbench.records.verdict_record import ScoreInterval, VerdictRecord
from pgsbench.reporting.decision.comparisons import decisions
from pgsbench.reporting.render import and_, counted
from pgsbench.reporting.results import Results
from pgsbench.reporting.search.where import where_sentences
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.verdict.answer import MAX_TOLD, answer, certainty


def _setting(results: Results) -> str:
    """Return what was trained on what, and tested on what, in one line."""
    configs = [run.spec.config for run in results.study.runs]
    models = dict.fromkeys(config.model.name for config in configs)
    samples = list(dict.fromkeys(config.training.samples for config in configs))
    pairs = and_([f"{number:,}" for number in samples])
    if len(samples) > MAX_TOLD:
        pairs = f"{min(samples):,} to {max(samples):,}"
    sources = list(dict.fromkeys(config.data.source for config in configs))
    if results.is_over_data and len(sources) > 1:
        names = list(dict.fromkeys(source.partition("?")[0] for source in sources))
        sources = [f"{and_(names)} by {counted(len(sources), 'recipe')}"]
    suites = dict.fromkeys(
        f"{run.scores.suite}, version {run.scores.suite_version}" for run in results.study.runs if run.scores
    )
    tested = f" Tested: suite {and_(list(suites))}." if suites else ""
    return f"Trained: {and_(list(models))} on {pairs} pairs of {and_(sources)}.{tested}"


def verdict_record(results: Results) -> VerdictRecord:
    """Return what a study's report, its site and MLflow show of its verdict."""
    where = where_sentences(results) if results.is_over_data else []
    study = results.study
    found = {one.pair: one for one in decisions(results)}
    environments = [run.environment for run in study.runs if run.environment]
    means = {label: {group: results.mean(label, group) for group in results.groups} for label in study.labels}
    return VerdictRecord(
        study=study.name,
        question=study.record.config.question.strip(),
        answer=where[0] if where else answer(results),
        certainty=certainty(results),
        setting=_setting(results),
        arms=tuple(study.arms),
        date=max((one.started for one in environments), default=""),
        versions=dict(environments[-1].versions) if environments else {},
        headline=next(iter(results.groups), ""),
        outcomes={pair: one.verdict for pair, one in found.items()},
        compared={pair: (one.candidate, one.baseline) for pair, one in found.items()},
        scores={
            label: {
                group: ScoreInterval(one.estimate, one.low, one.high)
                for group, one in of_label.items()
                if isinstance(one, Interval)
            }
            for label, of_label in means.items()
        },
    )
