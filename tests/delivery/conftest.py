"""Receivers that can be told how to behave, a clock that runs ahead when nobody is busy, records that can refuse."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pairscope.delivery import DELIVERIES, OUTBOX, Courier, waiting
from pairscope.errors import StoreUnavailable
from pairscope.ports import Document

SECOND = 1_000_000_000
START = 1_760_000_000 * SECOND
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class VirtualClock:
    """Time that stands still while something is busy, and else jumps to what is waited for next."""

    def __init__(self) -> None:
        self.now_ns = START
        self.busy: Callable[[], bool] = lambda: False
        self.passed: Callable[[], Awaitable[None]] | None = None
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def __call__(self) -> int:
        return self.now_ns

    @property
    def s(self) -> float:
        return (self.now_ns - START) / SECOND

    async def sleep(self, seconds: float) -> None:
        waits = (self.now_ns + int(seconds * SECOND), asyncio.get_running_loop().create_future())
        self._sleepers.append(waits)
        try:
            await waits[1]
        finally:
            self._sleepers.remove(waits)

    async def run(self, *, until_s: float = float("inf")) -> None:
        """Let time pass wherever everybody waits for it, not beyond a time."""
        while True:
            before = list(self._sleepers)
            for _ in range(20):
                await asyncio.sleep(0)
            if self.busy() or not before or before != self._sleepers:
                await asyncio.sleep(0.001)
                continue
            at_ns = min(at_ns for at_ns, _ in before)
            if at_ns > START + until_s * SECOND:
                await asyncio.sleep(0.001)
                continue
            self.now_ns = max(self.now_ns, at_ns)
            if self.passed is not None:
                await self.passed()
            for due_ns, future in before:
                if due_ns <= self.now_ns and not future.done():
                    future.set_result(None)


class Box:
    """Records in a dictionary, which may refuse to write or to read."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], bytes] = {}
        self.refuses = False
        self.refused = 0

    async def put(self, collection: str, key: str, document: bytes, *, replace: bool = True) -> bool:
        await self._pass()
        new = (collection, key) not in self.held
        if new or replace:
            self.held[collection, key] = document
        return new

    async def put_many(self, documents: Sequence[Document]) -> None:
        await self._pass()
        for collection, key, body in documents:
            if body is None:
                self.held.pop((collection, key), None)
            else:
                self.held[collection, key] = body

    async def get(self, collection: str, key: str) -> bytes | None:
        await self._pass()
        return self.held.get((collection, key))

    async def delete(self, collection: str, key: str) -> bool:
        await self._pass()
        return self.held.pop((collection, key), None) is not None

    async def scan(self, collection: str, after: str = "") -> AsyncIterator[tuple[str, bytes]]:
        await self._pass()
        for (held, key), document in sorted(self.held.items()):
            if held == collection and key > after:
                yield key, document

    def all(self, collection: str) -> list[Any]:
        return [orjson.loads(document) for (held, _), document in sorted(self.held.items()) if held == collection]

    async def _pass(self) -> None:
        await asyncio.sleep(0)
        if self.refuses:
            self.refused += 1
            raise StoreUnavailable("the store is away")


@dataclass
class Post:
    """What a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Receiver:
    """An HTTP server on loopback; ``answer`` says what each request gets: a status, bytes, or nothing (None).

    Its requests are in ``posts`` once their body is there, whatever is answered then.
    """

    clock: VirtualClock
    answer: Callable[[Post], Any] = lambda _: 204
    tls: ssl.SSLContext | None = None
    posts: list[Post] = field(default_factory=list)
    port: int = 0
    open: int = 0
    most_open: int = 0
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def url(self, path: str = "/hook") -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            post = Post(head[0].split(" ")[1], headers, body, self.clock.s)
            self.posts.append(post)
            said = self.answer(post)
            if said is None:
                await reader.read()  # until the other side has had enough
            elif isinstance(said, int):
                writer.write(b"HTTP/1.1 %d Said\r\ncontent-length: 0\r\n\r\n" % said)
            else:
                writer.write(said)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side hung up
        finally:
            self.open -= 1
            writer.close()


class House:
    """A courier with its clock and its records, which can be ended and begun again."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.box = Box()
        self.courier: Courier
        self._tasks: list[asyncio.Task[Any]] = []
        self._receivers: list[Receiver] = []
        self._seq = 0

    async def begin(self, *, run: bool = True, until_s: float = float("inf"), **given: Any) -> Courier:
        settings = {"private": True, "secret": SECRET, "sleep": self.clock.sleep, "webhook_s": 30.0, **given}
        self.courier = courier = Courier(self.box, self.clock, **settings)
        self.clock.busy = lambda: courier.counters()["in_flight"] > 0
        await courier.restore()
        if run:
            self._tasks.append(asyncio.create_task(courier.run()))
            self.go_on(until_s=until_s)
        return courier

    def go_on(self, *, until_s: float = float("inf")) -> None:
        """Let time pass up to another time than it did."""
        self._tasks.append(asyncio.create_task(self.clock.run(until_s=until_s)))

    async def die(self) -> None:
        """End as a process does that is killed: nothing more is recorded."""
        for task in [*self._tasks, *self.courier._sending]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self.courier._sending, return_exceptions=True)
        self._tasks.clear()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if hasattr(self, "courier"):
            await self.courier.close()
        for receiver in self._receivers:
            await receiver.stop()

    async def receiver(self, answer: Callable[[Post], Any] | None = None, **given: Any) -> Receiver:
        made = Receiver(self.clock, **({"answer": answer} if answer else {}), **given)
        await made.start()
        self._receivers.append(made)
        return made

    def fire(self, *targets: str, **fields: Any) -> str:
        """Store a firing's messages and tell the courier so; return the firing's id."""
        self._seq += 1
        firing = {
            "id": f"rule-{self._seq}", "seq": self._seq, "symbol": "BTCUSDT", "type": "price", "condition": "above",
            "timestamp": self.clock.now_ns // 1_000_000, "value": 70_001.5, "threshold": 70_000.0,
            "message": "BTCUSDT is above 70000", "late": False, "test": False, **fields,
        }  # fmt: skip
        documents = []
        for index, target in enumerate(targets):
            key, body = waiting(self._seq, index, firing, target, self.clock.now_ns // 1_000_000)
            self.box.held[OUTBOX, key] = body
            documents.append(Document(OUTBOX, key, body))
        self.courier.kept(documents)
        return str(firing["id"])

    @property
    def ended(self) -> list[Any]:
        return self.box.all(DELIVERIES)

    @property
    def waits(self) -> list[Any]:
        return self.box.all(OUTBOX)

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something to come true."""
        return await until(condition, what=self.courier.counters)


async def until(condition: Callable[[], Any], *, what: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := condition()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"it did not come true: {what()}")
        await asyncio.sleep(0.002)
    return found


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    await made.end()


@dataclass(frozen=True)
class Certificates:
    """An authority of our own: a client that trusts it, and servers under names that it vouches for."""

    trust: ssl.SSLContext
    server: Callable[[str], ssl.SSLContext]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder: Path = tmp_path_factory.mktemp("certificates")
    now = datetime.datetime.now(datetime.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tests")])

    def certificate(
        name: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(extension, critical=False)
        )
        return builder.sign(authority_key, hashes.SHA256())

    def context(host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        made = certificate(name, key, x509.SubjectAlternativeName([x509.DNSName(host)]))
        file = folder / f"{host}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(file)
        return server

    root = certificate(authority, authority_key, x509.BasicConstraints(ca=True, path_length=None))
    pem = root.public_bytes(serialization.Encoding.PEM).decode()
    return Certificates(ssl.create_default_context(cadata=pem), context)
