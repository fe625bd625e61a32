"""Masks for open_clip models, wrapped around the image tower from outside.

The module that a tower keeps for patch dropout is replaced by `Masking`, which has neither parameters
nor buffers: the state dict stays open_clip's own, so any tool that loads open_clip models loads ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pgsbench.devices import sent
from pgsbench.errors import DataError, ModelError
from pgsbench.masking.base import Fuser, PatchView, Resampler, Selection, Strategy
from pgsbench.masking.coverage import averaged, coarse, object_shares, objects_kept, resample
from pgsbench.masking.noise import Draws
from pgsbench.masking.selection_check import select_checked
from pgsbench.masking.token_counts import TokenCount, whole
from pgsbench.models.token_rows import TokenRows
from pgsbench.models.tower_layout import TowerLayout, layout_of
from pgsbench.models.tower_parts import DeviceClock, EmaTower, as_key_padding, embed, position_at, uncompiled

if TYPE_CHECKING:  # it imports this module
    from pgsbench.models.attached import Passes


def attach(model: nn.Module, strategy: Strategy) -> Masking:
    """Mask the image tower of an open_clip model in place; a mask that is already there is replaced.

    Args:
        model: An open_clip model with a `visual` tower: an open_clip ViT, or a timm tower that can drop
            patches.
        strategy: Which patches to keep. For one that needs attention, a moving average of the tower starts
            here, from the weights that the tower has now.

    Raises:
        ModelError: The tower cannot drop patches, or cannot give what the strategy needs. The first masked
            forward pass raises it, too, where the strategy hides patches and the tower cannot, and
            PluginError where it answers what breaks the rules of a selection.
    """
    attached = masking_of(model)
    if attached is not None:
        attached.detach()
    return Masking(layout_of(model), strategy)


def masking_of(model: nn.Module) -> Masking | None:
    """Return the mask that is attached to a model, or None; a copied model has its own."""
    return next((module for module in model.modules() if isinstance(module, Masking)), None)


class Masking(nn.Module):
    """The mask of one image tower: stands where patch dropout stood, and is the handle to steer it.

    It masks in training mode only. What it draws for a picture follows from the seed, the
    step and the picture's number, which `begin_step` is given. So a part of a batch gets the masks that it
    has in the whole, on any process; and a pass that is run again during backward has the mask that it had,
    as long as backward runs before the next `begin_step`.

    Attributes:
        strategy: Which patches to keep.
        active: False shows all patches in training too, as in a phase of unmasked tuning.
        passes: Counts the passes of a loop that does not call `begin_step`; None: it does.
        last: The selection of the last masked forward pass, or None.
    """

    def __init__(self, layout: TowerLayout, strategy: Strategy) -> None:
        super().__init__()
        self.strategy, self.active = strategy, True
        self.passes: Passes | None = None
        self.last: Selection | None = None
        # The layout holds the tower; as it is no module itself, the tower does not become our child.
        self._layout = layout
        self._ema: EmaTower | None = None  # no module either, for the same reason
        if "attention" in strategy.needs:
            layout.check_can("attend")
            self._ema = EmaTower(layout.owner, momentum=getattr(strategy, "ema_momentum"))  # noqa: B009
        if isinstance(strategy, Fuser | Resampler):
            layout.check_can("change")
        if isinstance(strategy, Fuser):
            layout.check_can("hide")
        layout.install(self)
        if isinstance(strategy, Resampler):
            layout.owner._embeds = self._embed  # a bound method: a copied tower gets the copied mask's
        self._hooks = self._add_hooks()
        self._rows = TokenRows()
        self._grid = layout.grid
        self._position: Tensor | None = None  # of a grid that is not the tower's own
        self._images: Tensor | None = None
        self._objects: Tensor | None = None
        self._place: tuple[int, int] | None = None
        self._samples: Tensor | None = None
        self._progress = 0.0
        self._is_checked = False
        self._clock = DeviceClock()

    def begin_step(
        self,
        *,
        seed: int,
        step: int,
        samples: Tensor | None = None,
        progress: float = 0.0,
        objects: Tensor | None = None,
    ) -> None:
        """Say which pictures come next; random choices depend on seed, step and samples only.

        Where the strategy looks at attention, the moving average of the tower now takes in what the last
        optimizer step has made of it.

        Args:
            seed: Seed of the run.
            step: Optimizer step.
            samples: (b,) int64 number of each picture, counted from the beginning of the training; None:
                those of a whole batch.
            progress: Share of the training that is done, in [0, 1].
            objects: (b, h, w) maps at model resolution, non-zero where a picture shows an object.
        """
        self._place, self._samples = (seed, step), samples
        self._progress, self._objects = progress, objects
        if self._ema is not None:
            with self._clock.running(self._ema.device):
                self._ema.follow(step=step, progress=progress)

    def ema_state(self) -> dict[str, Tensor]:
        """Return the weights of the tower's moving average for exact resume; none where there is none."""
        return {} if self._ema is None else self._ema.copy.state_dict()

    def load_ema_state(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `ema_state` has returned.

        Raises:
            RuntimeError: The weights are not of this tower, or missing.
        """
        if self._ema is not None:
            self._ema.copy.load_state_dict(weights)

    @property
    def select_seconds(self) -> float:
        """Seconds spent choosing patches since `attach`; on a GPU this waits for the device.

        For a strategy that looks at attention that includes all that its moving average of the tower costs.
        """
        return self._clock.seconds

    @property
    def grid(self) -> tuple[int, int]:
        """The (rows, cols) of patches at the tower's own image size."""
        return self._layout.grid

    @property
    def num_views(self) -> int:
        """Rows of the output that belong to one picture: all first views come first, then all second ones."""
        return 1 if self.last is None else self.last.num_views

    @property
    def token_count(self) -> TokenCount:
        """What a picture has cost in the last forward pass, counted there."""
        blocks = self._layout.num_blocks
        if self.last is None:
            return whole(self.grid, blocks)
        entered = self.last.keep.shape[-1]
        per_block = tuple(self._rows.lengths) or (entered,) * blocks
        embedded = self._grid[0] * self._grid[1]
        return TokenCount(per_block, self.num_views, embedded, watched=self._ema is not None)

    def effective_ratio(self) -> float | Tensor:
        """Return the share of patches without influence in the last forward pass.

        Where patches are hidden or merged it is a 0-d tensor, since it is known on the device alone.
        """
        if self.last is None or self._is_resampled:
            return 0.0
        n = self.grid[0] * self.grid[1]
        if self.last.visible is None and self.last.into is None:
            return 1.0 - self.last.keep.shape[-1] / n
        return self.last.effective_ratio(n)

    def shown(self, batch_size: int) -> Tensor:
        """Return (b, n) bool: which patches had an influence in the last forward pass."""
        n = self.grid[0] * self.grid[1]
        if self.last is None:
            return torch.ones(batch_size, n, dtype=torch.bool)
        if self._is_resampled:
            return self.last.keep.new_ones(batch_size, n, dtype=torch.bool)
        return self.last.shown(n)

    def appearance(self, images: Tensor) -> Tensor | None:
        """Return the pictures as the tower saw them in the last forward pass; None: as they are.

        That is, at the size that they were resampled to, or with the patches of each merged token replaced by
        their mean. Of several views it is the first.

        Args:
            images: (b, c, h, w) float, the batch of that pass.
        """
        if self.last is None:
            return None
        if self._is_resampled:
            return coarse(images, self._layout.size_of(self._grid))
        into = self._rows.token_of(self.last, self.grid[0] * self.grid[1])
        return None if into is None else averaged(images, into.to(images.device), self._layout.patch_size)

    @property
    def _is_resampled(self) -> bool:
        return self._position is not None

    def diagnostics(self) -> dict[str, float]:
        """Return what is known of the last masked forward pass; waits for a GPU.

        The strategy's own diagnostics and, where the objects are known, those of
        `pgsbench.masking.coverage.objects_kept`, all under ``mask/``.
        """
        if self.last is None:
            return {}
        found = dict(self.last.diagnostics)
        if self._objects is not None:
            shares = self._object_shares(self.last.keep.device)
            found |= objects_kept(shares, self.shown(len(shares)))
        return {f"mask/{name}": float(value) for name, value in found.items()}

    def detach(self) -> None:
        """Take the mask off: the tower is again what it was. Does nothing once it is off, or replaced."""
        for hook in self._hooks:
            hook.remove()
        if self._layout.holds(self):
            self._layout.restore()
            vars(self._layout.owner).pop("_embeds", None)

    def forward(self, x: Tensor) -> Any:
        """Drop and merge tokens: (b, prefix + n, d) becomes (b, prefix + k, d), or (v b, ...) for v views.

        Towers with rotary positions get the kept indices (b, k), or None, beside the tokens.
        """
        self.last, keep = None, None
        self._rows = TokenRows()
        if self._is_masking():
            self.last = self._choose(x)
            keep = self.last.keep.flatten(0, -2)
            x, self._rows = TokenRows.shortened(x, self.last, self._layout.num_prefix)
        return (x, keep) if self._layout.wants_indices else x

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Masking:
        # What `to`, `cuda` or `half` do to the model must reach the moving average, which is no part of it.
        if self._ema is not None:
            self._ema.copy._apply(fn, recurse)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return self

    def _is_masking(self) -> bool:
        return self.training and self.active

    # The clock reads the time: this is the one place where `torch.compile` leaves its graph.
    @uncompiled
    def _choose(self, x: Tensor) -> Selection:
        if self.passes is not None:
            self.begin_step(**self.passes.next(len(x), x.device))
        with self._clock.running(x.device), torch.no_grad():
            attention = None
            if self._ema is not None:  # in the precision of the training, as the tower itself
                assert self._images is not None
                attention = self._ema.attention(self._images)
            with torch.autocast(x.device.type, enabled=False):
                view = self._view(x.detach(), attention)
                # Only the first answer is checked, since that waits for a GPU.
                select = self.strategy.select if self._is_checked else partial(select_checked, self.strategy)
                selection = select(view, draws=self._draws(len(x), x.device))
        self._images, self._is_checked = None, True
        if selection.visible is not None or selection.into is not None:
            self._layout.check_can("hide")
        return selection

    def _view(self, x: Tensor, attention: Tensor | None) -> PatchView:
        layout, needs, grid = self._layout, self.strategy.needs, self._grid
        tokens = x[:, layout.num_prefix :]
        if tokens.shape[1] != grid[0] * grid[1]:
            raise ModelError(
                f"the tower has {tokens.shape[1]} patch tokens, its grid {grid[0]} x {grid[1]}",
                way_out="this tower does more than cut pictures into patches: use an open_clip ViT",
            )
        images = self._images
        if images is not None:
            height, width = layout.size_of(grid)
            images = images[..., :height, :width]
        code = layout.position() if self._position is None else self._position[layout.num_prefix :]
        objects = self._object_shares(x.device) if "objects" in needs else None
        view = PatchView(
            grid,
            layout.patch_size,
            len(x),
            x.device,
            self._progress,
            images,
            tokens,
            code,
            attention,
            objects,
        )
        return view.limited_to(needs)

    def _object_shares(self, device: torch.device) -> Tensor:
        if self._objects is None:
            raise DataError(
                "this strategy must know where the objects are, and these data do not say it",
                value=type(self.strategy).__name__,
                way_out="train on data with object masks, such as scenes, or choose another strategy",
            )
        return object_shares(sent(self._objects, device), self._layout.patch_size)

    def _draws(self, batch_size: int, device: torch.device) -> Draws:
        if self._place is None:
            raise RuntimeError("begin_step() must be called before a masked forward pass")
        seed, step = self._place
        if self._samples is None:
            return Draws.of_batch(batch_size, seed=seed, step=step, device=device)
        if len(self._samples) != batch_size:
            raise RuntimeError(
                f"begin_step() was given {len(self._samples)} samples for {batch_size} pictures"
            )
        return Draws(sent(self._samples, device), seed=seed, step=step)

    def _add_hooks(self) -> list[RemovableHandle]:
        # Bound methods, or functions, and no closures: copying or pickling the model then rebinds them. All
        # of them whatever the strategy: `torch.compile` does not look at hooks when it reuses a graph, and
        # would run one that was made for a strategy without them.
        layout = self._layout
        hooks = [layout.patch_embedding.register_forward_pre_hook(self._capture)]
        if layout.transformer is not None:
            hooks.append(layout.transformer.register_forward_pre_hook(self._mask_keys, with_kwargs=True))
            hooks += [
                module.register_forward_pre_hook(as_key_padding, with_kwargs=True)
                for module in layout.transformer.modules()
                if isinstance(module, nn.MultiheadAttention)
            ]
            hooks += [
                block.register_forward_pre_hook(self._merge, with_kwargs=True) for block in layout.blocks
            ]
        if layout.averages is not None:
            hooks.append(layout.averages.register_forward_hook(self._weigh_average))
        return hooks

    def _embed(self, images: Tensor) -> Tensor:
        # Stands for the tower's own embedding step where the strategy is a `Resampler`.
        layout, self._position = self._layout, None
        assert isinstance(self.strategy, Resampler)
        grid = layout.grid_of(images)
        wanted = self.strategy.grid_for(grid) if self._is_masking() else grid
        if wanted == grid:
            return embed(layout.owner, images)
        code = position_at(layout.owner.positional_embedding, layout.grid, wanted)
        self._position = code.detach()
        return embed(layout.owner, resample(images, layout.size_of(wanted)), code)

    def _capture(self, _: nn.Module, args: tuple[Any, ...]) -> None:
        if self._is_masking():
            self._grid = self._layout.grid_of(args[0])
            if self.strategy.needs & {"images", "attention"}:
                self._images = args[0].detach()

    def _mask_keys(
        self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        # Where all tokens count alike there is no mask at all, and attention keeps its fast kernel.
        mask = self._rows.key_mask(args[0])
        return None if mask is None else (args, kwargs | {"attn_mask": mask})

    def _merge(
        self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self.last is None or not isinstance(self.strategy, Fuser):
            return None
        blocks = self._layout.blocks
        depth = next(number for number, one in enumerate(blocks) if one is block)
        x, mask = self._rows.merge(
            args[0], self.strategy, block, depth=depth, num_blocks=len(blocks), clock=self._clock
        )
        # open_clip names the mask, but for gradient checkpointing, which gives all by place.
        return (x, None, None, mask), {key: value for key, value in kwargs.items() if key != "attn_mask"}

    def _weigh_average(self, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return self._rows.weighed(output)
