"""open_clip_train's own loader of webdataset shards, as a yardstick."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor
from webdataset.tariterators import tar_file_expander

from pgsbench.config.augmentation import AugmentConfig
from pgsbench.data.samples import Tokenize
from pgsbench.models.openclip import open_clip


def open_clip_batches(
    shards: Sequence[str],
    *,
    image_size: tuple[int, int],
    augment: AugmentConfig,
    tokenize: Tokenize,
    batch_size: int,
    num_samples: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised pictures and token ids as open_clip_train reads them, in this process, without end.

    Args:
        shards: The archives.
        image_size: (height, width) in pixels.
        augment: The numbers of its transform.
        tokenize: Texts to token ids.
        batch_size: Pairs in a batch.
        num_samples: Pairs in an epoch.
    """
    from open_clip_train import data  # it imports much

    # Since webdataset 1.0 an empty sample ends each shard, which open_clip_train does not expect.
    data.tar_file_expander = partial(tar_file_expander, eof_value=None)
    settings = {key: value for key, value in augment.model_dump(exclude={"ratio"}).items() if value}
    transform = open_clip.image_transform(image_size, is_train=True, aug_cfg=settings)
    wanted = Namespace(
        train_data="::".join(shards),
        train_num_samples=num_samples,
        dataset_resampled=False,
        train_data_upsampling_factors=None,
        seed=0,
        batch_size=batch_size,
        workers=0,
        world_size=1,
    )
    while True:
        loader = data.get_wds_dataset(wanted, transform, is_train=True, tokenizer=tokenize).dataloader
        yield from loader
