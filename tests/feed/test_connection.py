"""One connection through hours of virtual time: when it is replaced, how, and how often it dares to try."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from pairscope.errors import ConnectionLost, ExchangeRefused
from pairscope.feed.connection import Connection
from pairscope.feed.subscription import plan_connections
from pairscope.feed.wire import Decoder
from pairscope.market.symbols import Symbols

HOUR_S = 3600.0
Simulate = Callable[[Awaitable[None]], None]


class Lab:
    """A connection on a simulated network, with a say in whether the exchange is ahead of us."""

    def __init__(self, network: Any, names: int = 1, **options: Any) -> None:
        self.network = network
        self.behind = False
        self.probes = 0
        self.lives = 0
        symbols = Symbols(f"S{k}USDT" for k in range(names))
        self.decoder = Decoder(symbols)
        self.connection = Connection(
            plan_connections("ws://exchange", list(symbols))[0],
            opener=network.open,
            take=lambda payloads: self.decoder.feed_all(payloads, 0),
            behind=self._behind,
            on_live=self._live,
            monotonic=lambda: round(asyncio.get_running_loop().time() * 1e9),
            sleep=asyncio.sleep,
            stall_ns=int(options.get("stall_s", 10) * 1e9),
            rotate_ns=int(options.get("rotate_s", 23 * HOUR_S) * 1e9),
            rng=random.Random(3),
        )
        self.task = asyncio.create_task(self.connection.run())

    async def _behind(self, _: Connection) -> bool:
        self.probes += 1
        return self.behind

    def _live(self) -> None:
        self.lives += 1

    def sighted(self) -> bool:
        return self.connection.sighted(round(asyncio.get_running_loop().time() * 1e9))

    async def talk(self, seconds: float, *, every: float = 0.1) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            self.network.say('{"e":"other"}')
            await asyncio.sleep(every)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def test_an_exchange_that_is_gone_for_an_hour_is_tried_a_bounded_number_of_times(
    network: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        network.always = ConnectionRefusedError("nobody there")
        lab = Lab(network)
        await asyncio.sleep(HOUR_S)
        assert 100 < len(network.attempts) <= 320
        early = [t for t in network.attempts if t < network.attempts[0] + 10]
        assert len(early) >= 4
        assert "nobody there" in lab.connection.reason
        await lab.stop()

    simulate(main())


@pytest.mark.parametrize(
    "welcome",
    [
        lambda socket: socket.break_off("1008 too many requests"),
        lambda socket: socket.hear('{"e":"serverShutdown"}'),
        lambda socket: socket.hear('{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}'),
        lambda socket: (socket.hear('{"e":"other"}'), socket.break_off("1006")),
    ],
)
def test_a_server_that_lets_us_in_only_to_throw_us_out_makes_no_hot_loop(
    network: Any, simulate: Simulate, welcome: Any
) -> None:
    async def main() -> None:
        network.on_open = welcome
        lab = Lab(network)
        await asyncio.sleep(HOUR_S)
        assert 50 < len(network.attempts) <= 320
        assert len(network.live) <= 2
        await lab.stop()

    simulate(main())


def test_a_busy_line_that_falls_silent_is_replaced_within_the_stall_time_without_asking(
    network: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        lab = Lab(network)
        await lab.talk(60)
        silent_from = asyncio.get_running_loop().time()
        await asyncio.sleep(11.5)
        assert lab.probes == 0
        assert len(network.sockets) == 2
        assert network.sockets[1].opened_s - silent_from < 11.2
        assert "no frame" in lab.connection.reason
        await lab.stop()

    simulate(main())


def test_a_quiet_line_is_left_alone_when_the_exchange_has_nothing_more(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network)
        await lab.talk(600, every=60)
        await asyncio.sleep(HOUR_S)
        assert len(network.sockets) == 1
        assert 55 < lab.probes <= 90
        assert lab.sighted()
        await lab.stop()

    simulate(main())


def test_a_quiet_line_is_replaced_when_the_exchange_has_more(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network)
        await lab.talk(600, every=60)
        lab.behind = True
        await asyncio.sleep(61)
        assert len(network.sockets) >= 2
        await lab.stop()

    simulate(main())


def test_a_market_that_stops_costs_one_new_line_and_then_few_questions(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network)
        await lab.talk(60, every=0.05)
        await asyncio.sleep(HOUR_S)
        assert len(network.sockets) == 2
        assert 50 < lab.probes < 80
        assert lab.sighted()
        await lab.talk(60, every=0.05)
        assert len(network.sockets) == 2
        await asyncio.sleep(12)
        assert len(network.sockets) == 3
        await lab.stop()

    simulate(main())


def test_an_agreement_is_no_sign_of_life(network: Any, simulate: Simulate) -> None:
    """The wrong route agrees to everything and stays silent."""

    async def main() -> None:
        network.on_open = lambda socket: socket.hear('{"result":null,"id":1}')
        lab = Lab(network)
        lab.behind = True
        await asyncio.sleep(5)
        assert not lab.sighted()
        await asyncio.sleep(10)
        assert len(network.sockets) >= 2
        assert lab.lives == 0
        await asyncio.sleep(HOUR_S)
        assert len(network.attempts) <= 360
        await lab.stop()

    simulate(main())


def test_before_the_day_is_over_a_new_line_takes_over_from_the_old_one(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network)
        await lab.talk(23 * HOUR_S + 20, every=5)
        old, new = network.sockets
        assert new.opened_s - old.opened_s == pytest.approx(23 * HOUR_S, abs=2)
        assert old.closed_s > new.opened_s
        assert not old.open
        assert new.open
        assert lab.lives == 2
        await lab.stop()

    simulate(main())


def test_the_old_line_speaks_until_the_new_one_does(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network, rotate_s=100)
        await lab.talk(99)
        old = network.live[0]
        while len(network.sockets) == 1:
            old.hear('{"e":"other"}')
            await asyncio.sleep(0.1)
        for _ in range(30):
            old.hear('{"e":"other"}')
            await asyncio.sleep(0.1)
        assert old.open
        assert lab.sighted()
        network.sockets[1].hear('{"e":"other"}')
        await asyncio.sleep(0.9)
        assert old.open
        await asyncio.sleep(0.2)
        assert not old.open
        await lab.stop()

    simulate(main())


def test_a_rotation_that_fails_keeps_the_old_line_meanwhile(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network, rotate_s=100)
        await lab.talk(99)
        network.refusals.extend(ConnectionLost("busy") for _ in range(5))
        await lab.talk(60)
        assert len(network.sockets) == 2
        assert network.sockets[0].closed_s >= network.sockets[1].opened_s
        await lab.stop()

    simulate(main())


def test_an_announced_shutdown_is_answered_at_once(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network)
        await lab.talk(60)
        announced = asyncio.get_running_loop().time()
        network.say('{"event":{"e":"serverShutdown"}}')
        await asyncio.sleep(0.2)
        assert network.sockets[1].opened_s - announced < 0.1
        await lab.talk(1)
        assert [socket.open for socket in network.sockets] == [False, True]
        await lab.stop()

    simulate(main())


def test_after_a_good_life_the_next_attempt_does_not_wait_long(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network)
        for _ in range(20):
            await lab.talk(30)
            network.live[0].break_off("1001")
            await asyncio.sleep(0.6)
            assert len(network.live) == 1
        await lab.stop()

    simulate(main())


def test_what_the_exchange_will_always_refuse_ends_the_connection_at_first_but_not_after_it_has_worked(
    network: Any, simulate: Simulate
) -> None:
    async def main() -> None:
        network.always = ExchangeRefused("HTTP 404", http_status=404)
        lab = Lab(network)
        with pytest.raises(ExchangeRefused):
            await lab.task
        network.always = None
        lab = Lab(network)
        await lab.talk(10)
        network.always = ExchangeRefused("HTTP 404", http_status=404)
        network.live[0].break_off("1006")
        await asyncio.sleep(60)
        assert not lab.task.done()
        network.always = None
        await asyncio.sleep(40)
        assert len(network.live) == 1
        await lab.stop()

    simulate(main())


def test_streams_beyond_the_address_are_asked_for_slowly(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network, names=1024)
        await asyncio.sleep(5)
        sent = network.sockets[0].sent
        times = [at for at, _ in sent]
        assert len(sent) >= 3
        assert min(b - a for a, b in pairwise(times)) >= 0.25 - 1e-9
        asked = sum(len(json.loads(message)["params"]) for _, message in sent)
        assert network.sockets[0].url.count("@aggTrade") + asked == 1024
        await lab.stop()

    simulate(main())


def test_a_line_that_we_do_not_read_is_not_called_silent(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network)
        await lab.talk(60)
        lab.connection.pause()
        await lab.talk(60)
        assert len(network.sockets) == 1
        assert lab.sighted()
        frames = lab.decoder.frames
        lab.connection.resume()
        assert lab.decoder.frames > frames + 500
        await lab.talk(5)
        assert len(network.sockets) == 1
        await lab.stop()

    simulate(main())


def test_blindness_is_known_long_before_the_stall_time_by_the_usual_rate(network: Any, simulate: Simulate) -> None:
    async def main() -> None:
        lab = Lab(network)
        assert not lab.sighted()
        await lab.talk(60, every=0.05)
        assert lab.sighted()
        await asyncio.sleep(0.4)
        assert lab.sighted()
        await asyncio.sleep(1.0)
        assert not lab.sighted()
        await lab.talk(1)
        assert lab.sighted()
        network.live[0].break_off("1006")
        assert not lab.sighted()
        await lab.stop()

    simulate(main())
