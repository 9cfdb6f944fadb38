"""The `dns` checker."""

from safekit_checker_dns.checker import DnsChecker
from safekit_checker_dns.config import DnsConfig

__all__ = ["DnsChecker", "DnsConfig"]
