"""What a module file says about PostgreSQL."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from safekit_sdk import AppConfig, Duration
from safekit_sdk.config import PATIENCE
from safekit_sdk.installed import AbsolutePath

IMMEDIATE_S: Final = 6.0
"""How long an immediate stop may take: PostgreSQL itself kills its processes after 5 s."""


Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,63}$")]


class PostgresqlConfig(AppConfig):
    """One PostgreSQL cluster: a data directory and what serves it."""

    data: AbsolutePath
    """The data directory."""
    config: AbsolutePath | None = None
    """`postgresql.conf`, where it is not in the data directory (Debian: `/etc/postgresql/15/main/postgresql.conf`)."""
    programs: AbsolutePath | None = None
    """The folder with `postgres` and `psql`; those of the data's version are looked for when absent."""
    user: Name = "postgres"
    """Whose processes they are, and who asks the question of the check."""
    database: Name = "postgres"
    """Where the check asks."""
    query: Annotated[str, Field(min_length=1, max_length=4096)] = "SELECT 1"
    """What the check asks: one that is answered at once, and needs no lock that others hold."""
    interval: Duration = Duration(2)
    """Time between two questions. The death of the server is seen at once, without a question."""
    timeout: Duration = Duration(5)
    """A question that is not answered within this time has failed."""
    fall: int = Field(default=3, ge=1, le=100)
    """So many failures in a row are down."""
    smart: Duration = Duration(0)
    """How long a stop waits for clients to leave by themselves, before their open transactions are rolled back."""
    start_timeout: Duration = Duration(600)
    """A start that takes longer has failed. The recovery after a crash is part of it."""
    stop_timeout: Duration = Duration(60)
    """A graceful stop that takes longer is followed by a forced one. The last checkpoint is part of it."""

    @property
    def fast_s(self) -> float:
        """How long the last checkpoint may take, so that a stop without it still fits into the limit."""
        return self.stop_timeout.seconds * PATIENCE - self.smart.seconds - IMMEDIATE_S

    @model_validator(mode="after")
    def _time_for_a_checkpoint(self) -> PostgresqlConfig:
        if self.fast_s < 1.0:
            least = (self.smart.seconds + IMMEDIATE_S + 1.0) / PATIENCE
            raise ValueError(f"stop_timeout {self.stop_timeout} is too short; at least {least:.0f}s with this `smart`")
        return self
