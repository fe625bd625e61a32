"""The base of all settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A model that knows all its keys and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class MismatchError(ValueError):
    """Fields that do not go together.

    Args:
        rule: What is required of them.
        fields: Their names. Where one of them is wrong itself, the rule proves nothing and is not told.
    """

    def __init__(self, rule: str, *fields: str) -> None:
        super().__init__(rule)
        self.fields = fields
