"""How ``mlflow.pyfunc`` loads a checkpoint: as a model that embeds pictures and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgsbench.data.tar import EncodedImage
from pgsbench.errors import EvaluationError
from pgsbench.evaluation.embed import Encoder
from pgsbench.models.checkpoint import load


class Embedder:
    """Both towers of a checkpoint, as MLflow calls a model.

    Args:
        folder: The checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self._encoder = Encoder(load(folder))

    def predict(self, model_input: Mapping[str, Sequence[Any]], params: object = None) -> NDArray[np.float32]:
        """Return (n, d) unit vectors of n pictures or texts.

        Args:
            model_input: A DataFrame or mapping with one column: ``text``, or ``picture`` with paths or the
                bytes of files.
            params: MLflow's; there are none.

        Raises:
            EvaluationError: There is neither column, or there are both.
            DataError: A picture cannot be read.
        """
        columns = list(model_input)
        if columns == ["text"]:
            return self._encoder.texts([str(text) for text in model_input["text"]]).numpy()
        if columns == ["picture"]:
            return self._encoder.images([_picture(given) for given in model_input["picture"]]).numpy()
        raise EvaluationError("one column is embedded, text or picture", where="predict", value=columns)


def _load_pyfunc(path: str) -> Embedder:
    """Return the model that MLflow has put into a folder."""
    return Embedder(Path(path))


def _picture(given: str | Path | bytes) -> tuple[str, EncodedImage]:
    if isinstance(given, bytes):
        return "a picture", EncodedImage(given, "")
    path = Path(given)
    return str(path), EncodedImage(path.read_bytes(), path.suffix.removeprefix("."))
