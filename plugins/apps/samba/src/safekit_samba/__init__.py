"""The application `samba`."""

from safekit_samba.app import SambaApp
from safekit_samba.config import SambaConfig

__all__ = ["SambaApp", "SambaConfig"]
