"""Tells addresses of this machine from others, in an agent's own processes as in ours."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Returns whether a URL leads to this machine: `localhost`, or an address of loopback. No name is looked up."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
