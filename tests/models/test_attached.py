"""Masks in someone else's loop: they count its steps, and the model stays open_clip's."""

from __future__ import annotations

import copy
import os
import pickle
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from small_tower import tiny
from torch import Tensor
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import pgsbench
from pgsbench.errors import ConfigError, ModelError
from pgsbench.masking.random import Random
from pgsbench.models.attached import Attached

TEXTS = torch.tensor([[1, 5, 6, 7, 8, 9, 39, 0], [1, 4, 39, 0, 0, 0, 0, 0]])


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def kept(masking: Attached) -> Tensor:
    assert masking.images.last is not None
    return masking.images.last.keep


def test_a_model_is_masked_in_training_alone_and_is_given_back_as_it_was(images: Tensor) -> None:
    model: Any = tiny().train()
    plain, names, attributes = model(images, TEXTS), list(model.state_dict()), set(vars(model))
    masking = pgsbench.attach(model, "random", mask_ratio=0.5, text={"strategy": "truncate", "keep": 4})
    assert list(model.state_dict()) == names
    masked = model(images, TEXTS)
    assert not torch.equal(masked[0], plain[0])
    assert not torch.equal(masked[1][0], plain[1][0])
    torch.testing.assert_close(masked[1][1], plain[1][1])  # a caption that fits
    assert masking.log() == {
        "mask_ratio_effective": 0.5,
        "tokens_kept": 12.0,
        "text_tokens": 4,
        "mask_seconds": pytest.approx(0.5, abs=0.5),
    }
    for whole in ("eval", "inactive"):
        model.train(whole != "eval")
        masking.active = whole == "eval"
        assert all(map(torch.equal, model(images, TEXTS), plain)), whole
    masking.detach()
    masking.detach()
    assert all(map(torch.equal, model.train()(images, TEXTS), plain))
    assert set(vars(model)) == attributes
    assert isinstance(model.visual.patch_dropout, torch.nn.Identity)


def test_each_pass_has_a_mask_of_its_own_which_follows_from_the_seed(images: Tensor) -> None:
    def masks(seed: int, done: int = 0) -> list[Tensor]:
        model: Any = tiny().train()
        masking = pgsbench.attach(model, "random", seed=seed, steps_done=done)
        found = []
        for _ in range(3):
            model(images, TEXTS)
            found.append(kept(masking))
            model.eval()(images, TEXTS)  # is no step
            model.train()
        return found

    first = masks(0)
    assert all(map(torch.equal, masks(0), first))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(masks(1)[0], first[0])
    assert torch.equal(masks(0, done=2)[0], first[2])


def test_who_passes_a_batch_twice_masks_it_alike(images: Tensor) -> None:
    # open_clip_train accumulates so: all batches without gradient, then each again with it.
    model: Any = tiny().train()
    masking, found = pgsbench.attach(model, "random"), []
    for _ in range(2):
        for way in (torch.no_grad, torch.enable_grad):
            for _ in range(2):
                with way():
                    model(images, TEXTS)
                found.append(kept(masking))
    for without, with_gradient in ((0, 2), (1, 3), (4, 6), (5, 7)):
        assert torch.equal(found[without], found[with_gradient])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[4])


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_pass_that_runs_again_in_backward_has_its_mask(reentrant: bool, images: Tensor) -> None:
    gradients = []
    for checkpointing in (False, True):
        model: Any = tiny().train()
        pgsbench.attach(model, "pgs", mask_ratio=0.5)
        for _ in range(2):
            leaf = images.clone().requires_grad_()
            encode = model.encode_image
            out = checkpoint(encode, leaf, use_reentrant=reentrant) if checkpointing else encode(leaf)
            out.square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) > 20
    assert all(map(torch.equal, *gradients))


def test_progress_is_known_where_the_steps_are(images: Tensor) -> None:
    seen: dict[int | None, list[float]] = {None: [], 4: []}
    for steps, found in seen.items():
        model: Any = tiny().train()
        masking = pgsbench.attach(model, Random(0.5), steps=steps)
        for _ in range(5):
            model(images, TEXTS)
            found.append(masking.images._progress)
    assert seen == {None: [0.0] * 5, 4: [0.0, 0.25, 0.5, 0.75, 1.0]}


def test_views_and_merging_go_with_it(images: Tensor) -> None:
    model: Any = tiny().train()
    masking = pgsbench.attach(model, "random", views=2, merge="nearest")
    features, texts, *_ = model(images, TEXTS)
    assert (len(features), len(texts), masking.num_views) == (4, 2, 2)
    first, second = features.chunk(masking.num_views)
    assert not torch.equal(first, second)
    assert masking.log()["mask_ratio_effective"] == 0.0, "what is dropped lives on in what is kept"


def test_a_copy_has_masks_of_its_own(images: Tensor) -> None:
    model: Any = tiny().train()
    masking = pgsbench.attach(model, "random", text={"strategy": "random", "keep": 4})
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    masked = model(images, TEXTS)
    masking.active = False
    for twin in twins:
        assert twin.encode_text.__self__ is not masking
        assert all(map(torch.equal, twin(images, TEXTS), masked))


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        ({"strategy": "oracle"}, ConfigError, "what a model is not told"),
        ({"text": "frequency"}, ConfigError, "what a model is not told"),
        ({"strategy": Random(0.5), "mask_ratio": 0.2}, ConfigError, "is made already"),
        ({"strategy": "random", "ratio": 0.2}, ConfigError, "unknown field"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_the_model_alone(
    wanted: Any, error: type[Exception], words: str
) -> None:
    model = tiny()
    with pytest.raises(error, match=words):
        pgsbench.attach(model, **wanted)
    assert isinstance(model.visual.patch_dropout, torch.nn.Identity)


def test_a_wrapped_model_is_refused() -> None:
    wrapped = torch.nn.ModuleDict({"module": tiny()})
    with pytest.raises(ModelError, match="before"):
        pgsbench.attach(wrapped, "random")


# ------------------------------------------------------------------------------------------ several processes

STRATEGIES: list[dict[str, Any]] = [
    {"strategy": "random"},
    {"strategy": "pgs", "mask_ratio": 0.3, "max_ratio": 0.5},
    {"strategy": "random", "merge": "nearest"},
    {"strategy": "tome"},
    {"strategy": "none", "text": {"strategy": "random", "keep": 4}},
]


def step(model: Any, masking: Attached, images: Tensor, texts: Tensor) -> Tensor:
    features = model(images, texts)
    loss = features[0].square().sum(dim=1).sqrt().mean() + (features[0] @ torch.ones(16)).mean()
    loss = loss + (features[1] @ torch.ones(16)).mean() * features[2]
    loss.backward()
    return kept(masking)


def one_of(rank: int, port: int, out: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    images = torch.randn(4, 3, 32, 48, generator=torch.Generator().manual_seed(1))[2 * rank :][:2]
    found = {}
    for number, wanted in enumerate(STRATEGIES):
        for way in ("ddp", "fsdp"):
            model: Any = tiny().train()
            names = list(model.state_dict())
            masking = pgsbench.attach(model, **wanted)
            wrapped: Any = model
            if way == "ddp":
                wrapped = DistributedDataParallel(model)
            else:
                for block in model.visual.transformer.resblocks:
                    fully_shard(block)
                fully_shard(model, ignored_params={model.logit_scale})  # it takes no scalars
            masks = [step(wrapped, masking, images, TEXTS) for _ in range(2)]
            weight = model.visual.proj.grad
            grad = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
            found[f"{way} {number}"] = (masks, grad.clone(), list(model.state_dict()) == names)
    torch.save(found, Path(out) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_mask_as_one_does_under_ddp_and_fsdp() -> None:
    with socket.socket() as free, tempfile.TemporaryDirectory() as out:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        processes.spawn(one_of, (port, out), nprocs=2)
        first, second = (torch.load(Path(out) / f"{rank}.pt") for rank in range(2))
    images = torch.randn(4, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    for number, wanted in enumerate(STRATEGIES):
        model: Any = tiny().train()
        masking = pgsbench.attach(model, **wanted)
        alone = [step(model, masking, images, TEXTS.repeat(2, 1)) for _ in range(2)]
        for way in ("ddp", "fsdp"):
            (ours, grad, names), (theirs, other, _) = first[f"{way} {number}"], second[f"{way} {number}"]
            assert names, "the state dict is open_clip's own"
            for here, there, both in zip(ours, theirs, alone, strict=True):
                assert torch.equal(torch.cat([here, there]), both), (way, wanted)
            assert torch.equal(grad, other)
            torch.testing.assert_close(grad, model.visual.proj.grad, atol=1e-5, rtol=1e-4)
