"""The words that the command line and the models share, with nothing heavy behind them."""

from typing import Literal

Role = Literal["node", "client"]
NodeState = Literal["running", "frozen", "crashed"]
Direction = Literal["in", "out", "both"]
