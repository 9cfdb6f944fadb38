"""python -m safekit_lab."""

from .cli import app

app()
