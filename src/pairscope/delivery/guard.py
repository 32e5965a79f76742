"""Which addresses may be called: public ones, looked up once and connected to as they were looked at."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pairscope.delivery.threads import Threads
from pairscope.errors import InputError

__all__ = ["ALLOW", "Address", "Guard", "Resolve", "literal", "refusal"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Turns a host and a port into addresses; raises ``OSError`` where there are none."""

ALLOW: Final = "set PAIRSCOPE_ALERT_PRIVATE_TARGETS=true to allow targets in your own network"

_NEVER: Final = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("169.254.0.0/16", "link-local"),
        ("168.63.129.16/32", "a cloud's own service"),
        ("100.100.100.200/32", "a cloud's own service"),
        ("192.0.0.192/32", "a cloud's own service"),
        ("fd00:ec2::/32", "a cloud's own service"),
        ("fe80::/10", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("0.0.0.0/8", "unspecified"),
        ("::/128", "unspecified"),
        ("255.255.255.255/32", "broadcast"),
    )
)
"""What nobody wants to be called, whatever is allowed."""
_SPECIAL: Final = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("127.0.0.0/8", "loopback"),
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("100.64.0.0/10", "shared by a provider's customers"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved for examples"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for examples"),
        ("203.0.113.0/24", "reserved for examples"),
        ("240.0.0.0/4", "reserved"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("64:ff9b::/96", "a translated IPv4 address"),
        ("64:ff9b:1::/48", "a translated IPv4 address"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved for examples"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "reserved for examples"),
    )
)
_GLOBAL_V6: Final = ipaddress.ip_network("2000::/3")


def refusal(address: Address, *, private: bool = False) -> str:
    """Return why an address is not called, empty where it may be.

    Public is an IPv4 address outside every special range, and an IPv6 address of 2000::/3 outside every special range;
    an IPv4 address that is mapped into IPv6 is judged as what it is. With ``private`` only link-local, multicast,
    unspecified and clouds' own addresses are refused.

    >>> refusal(ipaddress.ip_address("93.184.215.14")), refusal(ipaddress.ip_address("::ffff:127.0.0.1"))
    ('', 'loopback')
    >>> refusal(ipaddress.ip_address("169.254.169.254"), private=True)
    'link-local'
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return refusal(address.ipv4_mapped, private=private)
        if address.scope_id is not None:
            return "link-local"
    for ranges in (_NEVER,) if private else (_NEVER, _SPECIAL):
        for network, why in ranges:
            if address in network:
                return why
    if private:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_V6:
        return "reserved"
    return "" if address.is_global else "reserved"


def literal(host: str) -> Address | None:
    """Return the address that a host spells out, in any spelling that a resolver takes for one; None for a name.

    >>> [str(literal(spelling)) for spelling in ("127.1", "2130706433", "0x7f000001", "[::1]", "example.com")]
    ['127.0.0.1', '127.0.0.1', '127.0.0.1', '::1', 'None']
    """
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass  # not in the usual spelling; what resolvers take besides is tried below
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


class Guard:
    """Looks a host up and lets through addresses that may be called; ``private`` allows the own network."""

    def __init__(self, *, private: bool, threads: Threads, resolve: Resolve | None = None) -> None:
        self.private = private
        self._threads = threads
        self._resolve = resolve or self._look_up

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses to connect to, in order; one that is refused refuses the host.

        Raises ``InputError`` where an address is refused, ``OSError`` where there is none.
        """
        found = [str(spelled)] if (spelled := literal(host)) else list(dict.fromkeys(await self._resolve(host, port)))
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            self.look_at(host, ipaddress.ip_address(address))
        return found

    def look_at(self, host: str, address: Address) -> None:
        """Raise ``InputError`` where an address is refused."""
        if why := refusal(address, private=self.private):
            said = host if literal(host) else f"{host} ({address})"
            raise InputError(f"{said} is not called: its address is {why}", loc="notify", hint=ALLOW)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        found = await self._threads.call(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return [str(entry[4][0]) for entry in found]
