"""Hosts in addresses: which one is meant, and whether it is this machine's loopback."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether this name or address is this machine's loopback."""
    host = host.strip("[]").lower().rstrip(".")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_of(authority: str) -> str:
    """The host in "host:port"; brackets of IPv6 are taken off."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""
