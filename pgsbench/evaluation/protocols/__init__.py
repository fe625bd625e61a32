"""Protocols: how a model is tested on one data set. One file each; `base.Protocol` is the contract."""

from __future__ import annotations

from pgsbench.plugins.registry import Registry

#: Built-in protocols. The table is plain text, so that listing the names imports nothing.
PROTOCOLS = Registry(
    "protocol",
    group="pgsbench.evaluation",
    builtin={
        "zero_shot": "pgsbench.evaluation.protocols.zero_shot:ZeroShot",
        "retrieval": "pgsbench.evaluation.protocols.retrieval:Retrieval",
        "compositional": "pgsbench.evaluation.protocols.compositional:Compositional",
        "linear_probe": "pgsbench.evaluation.protocols.linear_probe:LinearProbe",
    },
)
