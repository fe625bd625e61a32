"""open_clip_train with a mask of ours, beside whatever arguments it takes.

::

    python -m pgsbench.open_clip_train --mask pgs --mask-ratio 0.5 --model ViT-B-16 --train-data ...

Its main runs as it is. That one takes no model from outside (``model, preprocess_train, preprocess_val =
create_model_and_transforms(``), so this one name is replaced in ``open_clip_train.main`` until the first
model is made.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pgsbench.config.read import parse_override, set_path
from pgsbench.errors import ConfigError, UserError
from pgsbench.models.attached import Attached, attach, place_among_ranks
from pgsbench.models.clip import resolve
from pgsbench.models.foreign import MASK_LINE

#: Arguments of open_clip_train's that a mask does not go with -> why.
_REFUSED = {
    "torchscript": "a scripted model cannot be masked",
    "trace": "a traced model cannot be masked",
    "force_patch_dropout": "the mask takes the place of patch dropout; `--mask random` drops as many patches",
    "horovod": "masks follow the ranks of torch.distributed, which Horovod does not set",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and return the exit status.

    Args:
        arguments: Of the command line; None: those of this process.

    Raises:
        UserError: The mask cannot be made, or does not go with another argument.
    """
    own, theirs = _parser().parse_known_args(arguments)
    trainer: Any = import_module("open_clip_train.main")
    args = import_module("open_clip_train.params").parse_args(theirs)
    for name, rule in _REFUSED.items():
        if getattr(args, name, None):
            raise ConfigError(rule, where=f"--{name.replace('_', '-')}", way_out="leave it out")
    fields = _fields(own)
    resolve(args.model)  # the built-in models, too
    made: list[Attached] = []
    create = trainer.create_model_and_transforms

    def masked(*given: Any, **options: Any) -> tuple[Any, ...]:
        trainer.create_model_and_transforms = create  # a second model is one to learn from
        model, *transforms = create(*given, **options)
        steps, done = _steps(trainer, args, place_among_ranks()[1])
        made.append(attach(model, own.mask, seed=args.seed, steps=steps, steps_done=done, **fields))
        logging.info(MASK_LINE + json.dumps({"name": own.mask, **fields}))
        if steps is None:
            logging.info("mask: the steps are not known (--train-num-samples), so tokens are not compared")
        return model, *transforms

    trainer.create_model_and_transforms = masked
    try:
        status = trainer.main(theirs)
    finally:
        trainer.create_model_and_transforms = create
    for one in made:
        logging.info(f"mask: {json.dumps(one.log())}")
    return 1 if status else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pgsbench.open_clip_train",
        allow_abbrev=False,
        description="open_clip_train with a mask; all other arguments are its own.",
    )
    parser.add_argument("--mask", required=True, help="A strategy: `pgsbench masks ls` lists them.")
    parser.add_argument("--mask-ratio", type=float, help="Share of the patches that is masked.")
    parser.add_argument(
        "--mask-set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="Another field of the strategy, or of the text strategy: text.strategy=random, text.keep=16.",
    )
    return parser


def _fields(own: argparse.Namespace) -> dict[str, Any]:
    fields: dict[str, Any] = {} if own.mask_ratio is None else {"mask_ratio": own.mask_ratio}
    for said in own.mask_set:
        set_path(fields, *parse_override(said))
    if fields.get("views", 1) != 1:
        raise ConfigError(
            "open_clip_train's loss takes one view of a picture",
            where="--mask-set views",
            value=fields["views"],
        )
    return fields


def _steps(trainer: Any, args: Any, world_size: int) -> tuple[int | None, int]:
    """Return the forward passes of the whole training, where they can be known, and those done before."""
    if not args.train_num_samples:
        return None, 0
    per_epoch = args.train_num_samples // (args.batch_size * world_size)
    resume = args.resume
    if resume == "latest":  # as its main finds it
        folder = Path(args.remote_sync or args.logs, args.name or "", "checkpoints")
        latest = folder / trainer.LATEST_CHECKPOINT_NAME
        if args.save_most_recent:
            resume = str(latest) if latest.is_file() else None
        else:
            resume = trainer.get_latest_checkpoint(str(folder), remote=args.remote_sync is not None)
    done = trainer.pt_load(resume, map_location="cpu").get("epoch", 0) if resume else 0
    return max(1, args.epochs * per_epoch), done * per_epoch


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
