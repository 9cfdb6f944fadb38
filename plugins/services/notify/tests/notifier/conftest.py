from __future__ import annotations

import warnings

from apprise import Apprise

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # one of its many services uses what Python 3.13 has no more
    Apprise().add("json://127.0.0.1:9/")
