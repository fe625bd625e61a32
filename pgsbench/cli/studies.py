"""``pgsbench train``, ``compare``, ``sweep``, ``scale``, ``plan``, ``run``: studies at work."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pgsbench.cli import options as opt
from pgsbench.cli.commands import argument, command, group, names_in, only_with, option
from pgsbench.errors import ConfigError
from pgsbench.reporting import terminal

if TYPE_CHECKING:
    import pandas as pd

    from pgsbench.reporting.render import Table
    from pgsbench.session.study import Study

app = group()

Baselines = Annotated[str, option("Arms or strategies, joined by commas.")]
_MARGIN = "With --until: smaller differences do not matter; points, or 10% of the baseline."
_PUBLISHED = "Tell only in what it deviates from the published setting of CLIP-PGS."
_FROM = "Begin with a run's weights: its id, or a checkpoint that it kept: ID@0.5, ID@epoch-2, ID@best."
Arms = Annotated[list[str] | None, option("Only this arm; may be repeated.")]


@command(app, "pgsbench sweep studies/ratio.yaml --set training.samples=8192", slow=True)
@opt.takes_work_options
def sweep(
    study: opt.StudyArgument,
    trials: Annotated[int | None, option("Trials in all, past ones included.", min=1, max=100_000)] = None,
    confirm: Annotated[int | None, option("Fresh seeds for the winner and rivals.", min=1, max=1000)] = None,
    *,
    options: opt.WorkOptions,
) -> None:
    """Search the study's space with Optuna; print the best points and what mattered, or where a mask pays."""
    opened = _open(study, options, stays=confirm is not None)
    if options.dry_run and not options.write:
        return _show_plan(opened, opened.dry_run_of_sweep(trials), options)
    if options.dry_run or options.detach:
        references, searched, num_open = opened.plan_sweep(trials)
        if num_open:
            rule = "a sampler chooses its points while the command looks on"
            raise ConfigError(rule, where="--detach", way_out="`--set search.sampler=grid`, or stay")
        left = opened.leave([*references, *searched], submit=not options.dry_run)
        return _show_left(opened, left, options)
    from pgsbench.session.confirming import confirm as run_again

    found = opened.sweep(trials)
    fresh = run_again(opened, found, seeds=confirm) if confirm and not opened.failed else None
    tables, said = found.printout()
    if fresh is not None:
        said = f"{said}\nWith fresh seeds: {fresh.verdict}"
    _finish(opened, (tables, said), options)


@command(app, "pgsbench compare --baselines flip,grid --until decided --margin 1.0", slow=True)
@opt.takes_work_options
def compare(
    baselines: Baselines = "",
    candidate: opt.Candidate = None,
    study: opt.StudyOption = "baselines",
    until: Annotated[Literal["decided"] | None, option("Add seeds until verdicts are clear.")] = None,
    margin: Annotated[str | None, option(_MARGIN, metavar="POINTS|SHARE%")] = None,
    max_seeds: Annotated[int | None, option("With --until: no more seeds (default: 8).", min=2)] = None,
    hours: Annotated[float | None, option("With --until: begin no seed that would end later.", min=0)] = None,
    *,
    options: opt.WorkOptions,
) -> None:
    """Compare a mask with others that differ in nothing else: seeds, 95 % intervals, paired tests."""
    only_with("--until decided", until, margin=margin, max_seeds=max_seeds, hours=hours)
    if until and options.seeds is not None:
        rule, way_out = "seeds are added until it is decided", "say --max-seeds instead"
        raise ConfigError(rule, where="seeds", value=options.seeds, way_out=way_out)
    opened, others = _open(study, options, stays=until is not None), names_in(baselines) or []
    from pgsbench.reporting.decision.decide import DEFAULT_MAX_SEEDS
    from pgsbench.session import comparing

    arms = opened.compared(others, candidate)
    seeds = max_seeds or DEFAULT_MAX_SEEDS
    looks: dict[str, Any] = {"candidate": candidate, "margin": margin, "max_seeds": seeds}
    if options.dry_run and not options.write:
        if until:
            opened = comparing.with_all_seeds(opened, others, **looks)
            typer.echo(f"with all {seeds} seeds; fewer, where it is decided sooner", err=True)
        return _show_plan(opened, opened.dry_run(arms), options)
    if options.dry_run or options.detach:
        left = opened.leave(opened.plan(arms), submit=not options.dry_run)
        return _show_left(opened, left, options)
    if until:
        repeat = partial(comparing.compare_until_decided, opened, others, hours=hours, **looks)
        found = repeat(on_look=partial(typer.echo, err=True))
    else:
        found = opened.compare(others, candidate=candidate)
    _finish(opened, found.printout(compared=True), options)


@command(app, "pgsbench train studies/baselines.yaml --arm pgs --arm flip --seeds 1", slow=True)
@opt.takes_work_options
def train(
    study: opt.StudyArgument,
    arm: Arms = None,
    from_: Annotated[str | None, option(_FROM, "--from", metavar="RUN[@CHECKPOINT]")] = None,
    *,
    options: opt.WorkOptions,
) -> None:
    """Train and evaluate the arms of a study; what exists with the same configuration is reused."""
    if from_ is not None:
        from pgsbench.reporting.one_run import weights_of

        begins = f"model.pretrained={weights_of(from_, options.output)}"
        options = replace(options, set_=[*(options.set_ or []), begins])
    opened, arms = _open(study, options), arm or None
    if options.dry_run and not options.write:
        return _show_plan(opened, opened.dry_run(arms), options)
    if options.dry_run or options.detach:
        left = opened.leave(opened.plan(arms), submit=not options.dry_run)
        return _show_left(opened, left, options)
    _finish(opened, opened.train(arms).printout(), options)


@command(app, "pgsbench scale baselines --budgets 0.25,0.5,1,2 --hold-out 4", slow=True)
@opt.takes_work_options
def scale(
    study: opt.StudyArgument,
    budgets: Annotated[str, option("Multiples of the study's samples or budget, joined by commas.")],
    hold_out: Annotated[float | None, option("A larger multiple, predicted before it is trained.")] = None,
    unit: Annotated[Literal["flops", "samples", "hours"], option("What fits are over.")] = "flops",
    *,
    options: opt.WorkOptions,
) -> None:
    """Train the arms at growing budgets, fit each, predict a larger one and measure it."""
    opened = _open(study, options, stays=True)
    from pgsbench.session import scaling

    factors = scaling.budgets_in(names_in(budgets) or [])
    if options.dry_run:
        return terminal.show(*scaling.dry_run(opened, factors, hold_out=hold_out), json=options.json)
    found = scaling.scale(opened, factors, hold_out=hold_out, unit=unit)
    terminal.show(*found.tables, json=options.json)
    typer.echo(f"\nreport: {found.folder / 'report.html'}", err=options.json)


@command(app, "pgsbench plan paper --device H100x8", slow=True)
def plan(
    study: opt.StudyArgument,
    set_: opt.Set = None,
    seeds: opt.Seeds = None,
    device: Annotated[str, option("As for `train`, timed here; or devices of a table, as H100x8.")] = "auto",
    published: Annotated[bool, option(_PUBLISHED, "--published")] = False,
    power: Annotated[bool, option("From past runs: what it takes to see a difference.", "--power")] = False,
    baselines: Annotated[str | None, option("With --power: arms to compare with, joined by commas.")] = None,
    candidate: opt.Candidate = None,
    output: opt.Output = Path(),
    json: opt.Json = False,
) -> None:
    """Tell what a study costs: steps, tokens, operations, memory, hours; without training, without data."""
    only_with("--power", power, baselines=baselines, candidate=candidate)
    if power:
        from pgsbench.session.past_studies import power as table_of

        found = table_of(study, output=output, candidate=candidate, baselines=names_in(baselines))
        return terminal.show(found, json=json)
    from pgsbench.study.open import open_by_name

    design = open_by_name(study, overrides=set_ or [], seeds=seeds)
    if published:
        from pgsbench.reporting.plan_tables import deviation_frame, deviation_table

        frame = deviation_frame(design)
        return terminal.show_frame(frame, deviation_table(design.config.name, frame), json=json)
    from pgsbench.session import costs  # late: a mistake in the study is said sooner

    terminal.show(*costs.plan(design, device=device, output=output), json=json)


@command(app, "torchrun --nproc-per-node 8 -m pgsbench run runs/paper/pgs-s0-3f9a1c2b", slow=True)
def run(
    directory: Annotated[Path, argument("A run directory, laid by --dry-run --write.", "RUN_DIRECTORY")],
    device: opt.Device = "auto",
    threads: Annotated[int | None, option("CPU threads (default: as planned).", min=1, max=256)] = None,
) -> None:
    """Train and evaluate one run, alone or as each of the processes of torchrun or srun."""
    from pgsbench.session.running import run

    typer.echo(run(directory, device=device, threads=threads).path)


def _open(study: str, options: opt.WorkOptions, *, stays: bool = False) -> Study:
    """Open a study; one that stays goes on from results, so its work cannot be left to others."""
    from pgsbench.study.open import open_by_name

    if stays and options.detach:
        raise ConfigError(
            "it goes on from results, so it has to stay", where="--detach", way_out="leave it out"
        )
    only_with("--dry-run", options.dry_run or None, write=options.write or None)
    design = open_by_name(study, overrides=options.set_ or [], seeds=options.seeds)
    from pgsbench.session.opening import work_on  # late: a mistake in the study is said sooner

    return work_on(
        design,
        output=options.output,
        jobs=options.jobs,
        device=options.device,
        threads=options.threads,
        on="local" if options.dry_run and options.on.startswith("slurm") else options.on,
        wait=options.wait,
        command=shlex.join(["pgsbench", *sys.argv[1:]]),
    )


def _show_plan(study: Study, plan: pd.DataFrame, options: opt.WorkOptions) -> None:
    from pgsbench.reporting.plan_tables import plan_table

    terminal.show_frame(plan, plan_table(study.name, plan), json=options.json)


def _show_left(study: Study, left: Sequence[Path], options: opt.WorkOptions) -> None:
    """Say what there is now: directories of runs that were laid, or jobs that were submitted."""
    if options.dry_run:
        return typer.echo("\n".join(map(str, left)))
    typer.echo(f"{study.name}: jobs of {len(left)} runs submitted\npgsbench study status {study.name}")


def _finish(study: Study, printout: tuple[list[Table], str], options: opt.WorkOptions) -> None:
    """Print what was found, where the report is, and what failed."""
    json, (tables, words) = options.json, printout
    terminal.show(*tables, json=json)
    if words and not json:
        typer.echo(f"\n{words}")
    typer.echo(f"\nruns: {study.worked}", err=json)
    page = study.report_folder / "report"
    typer.echo(f"report: {page}.html\n        {page}.md\nMLflow: pgsbench ui {study.name}", err=json)
    study.check_failed()
