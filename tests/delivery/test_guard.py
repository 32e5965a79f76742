"""Which addresses are called: tables of what is public and what is not, in every spelling that a resolver takes."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

import pytest

from pairscope.delivery.guard import Guard, literal, refusal
from pairscope.delivery.threads import Threads
from pairscope.errors import InputError

PUBLIC = ["93.184.215.14", "1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1"]
PRIVATE = {
    "127.0.0.1": "loopback", "127.255.255.254": "loopback", "10.0.0.1": "private", "172.16.0.1": "private",
    "172.31.255.255": "private", "192.168.1.1": "private", "100.64.0.1": "shared by a provider's customers",
    "192.0.0.8": "reserved", "192.0.2.1": "reserved for examples", "198.18.0.1": "reserved for benchmarks",
    "203.0.113.9": "reserved for examples", "240.0.0.1": "reserved", "192.88.99.1": "a 6to4 relay",
    "::1": "loopback", "fc00::1": "private", "fd12:3456::1": "private", "64:ff9b::7f00:1": "a translated IPv4 address",
    "64:ff9b:1::1": "a translated IPv4 address", "2002:7f00:1::": "a 6to4 address", "2001::1": "reserved",
    "2001:db8::1": "reserved for examples", "::ffff:127.0.0.1": "loopback", "::ffff:10.0.0.1": "private",
    "::127.0.0.1": "reserved", "4000::1": "reserved", "fec0::1": "reserved", "100::1": "reserved",
}  # fmt: skip
NEVER = {
    "169.254.169.254": "link-local", "169.254.0.1": "link-local", "fe80::1": "link-local", "fe80::1%eth0": "link-local",
    "224.0.0.1": "multicast", "239.255.255.255": "multicast", "ff02::1": "multicast", "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified", "::": "unspecified", "255.255.255.255": "broadcast", "::ffff:0.0.0.0": "unspecified",
    "168.63.129.16": "a cloud's own service", "100.100.100.200": "a cloud's own service",
    "192.0.0.192": "a cloud's own service", "fd00:ec2::254": "a cloud's own service",
    "::ffff:169.254.169.254": "link-local",
}  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called(address: str) -> None:
    assert refusal(ipaddress.ip_address(address)) == ""


@pytest.mark.parametrize(("address", "why"), [*PRIVATE.items(), *NEVER.items()])
def test_any_other_address_is_refused_and_the_reason_is_said(address: str, why: str) -> None:
    assert refusal(ipaddress.ip_address(address)) == why


def test_where_the_own_network_is_allowed_only_what_nobody_wants_is_refused() -> None:
    assert {a for a in (*PUBLIC, *PRIVATE) if refusal(ipaddress.ip_address(a), private=True)} == set()
    assert {a: refusal(ipaddress.ip_address(a), private=True) for a in NEVER} == NEVER


def test_no_address_that_python_knows_to_be_private_slips_through() -> None:
    edges = []
    for network in ("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"):
        ip = ipaddress.ip_network(network)
        edges += [ip[0], ip[-1], ip[ip.num_addresses // 2]]
    assert all(refusal(address) for address in edges)


@pytest.mark.parametrize(
    "spelling", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.1"]
)
def test_every_spelling_of_an_address_is_read_as_a_resolver_reads_it(spelling: str) -> None:
    resolved = {entry[4][0] for entry in socket.getaddrinfo(spelling, 80, type=socket.SOCK_STREAM)}
    assert {str(literal(spelling))} == resolved


@pytest.mark.parametrize("name", ["example.com", "localhost", "1.example.com", "0x7f.example", "", "a"])
def test_a_name_is_no_address(name: str) -> None:
    assert literal(name) is None


async def test_one_refused_address_among_good_ones_refuses_the_host() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["93.184.215.14", "2606:4700:4700::1111", "::ffff:10.0.0.1"]

    guard = Guard(private=False, threads=Threads(), resolve=resolve)
    with pytest.raises(
        InputError, match=r"hooks.example \(::ffff:.*\) is not called: its address is private"
    ) as caught:
        await guard.addresses("hooks.example", 443)
    assert caught.value.loc == "notify"
    assert "PAIRSCOPE_ALERT_PRIVATE_TARGETS" in caught.value.hint


async def test_the_system_s_own_answer_is_looked_at_too() -> None:
    guard = Guard(private=False, threads=Threads())
    with pytest.raises(InputError, match="loopback"):
        await guard.addresses("localhost", 443)
    allowed = Guard(private=True, threads=Threads())
    assert set(await allowed.addresses("localhost", 443)) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match=r".+"):
        await allowed.addresses("nobody.invalid", 443)


async def test_a_spelled_address_is_not_looked_up() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise AssertionError("it was looked up")

    guard = Guard(private=False, threads=Threads(), resolve=resolve)
    assert await guard.addresses("93.184.215.14", 443) == ["93.184.215.14"]
