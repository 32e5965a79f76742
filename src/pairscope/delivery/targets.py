"""Which addresses a rule may be sent to, and how they are shown: an allow-list of schemes, and secrets left out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pairscope.delivery.guard import ALLOW, literal, refusal
from pairscope.errors import InputError

__all__ = ["LONGEST", "Target", "check_target", "masked", "restored", "tag_of"]

LONGEST: Final = 2048
MARK: Final = "…"
"""Stands for what is left out of a target that is shown; no target can hold it."""

Kind = Literal["webhook", "service", "mail"]

_SERVICES: Final = {
    "discord": "avatar footer format tts",
    "gchat": "",
    "ifttt": "",
    "line": "",
    "ntfy": "priority tags",
    "ntfys": "priority tags",
    "opsgenie": "priority region tags",
    "pagerduty": "region",
    "pbul": "",
    "pover": "priority sound",
    "psafers": "priority",
    "slack": "footer format image",
    "spush": "",
    "tgram": "format preview silent thread topic",
    "twilio": "",
    "webex": "",
    "workflow": "",
    "workflows": "",
    "wxteams": "",
}
"""Schemes that speak to one service's own host, with the parameters that may be given."""
_OWN: Final = {"gotify": "priority", "gotifys": "priority", "mmost": "", "mmosts": "", "ntfy": "", "ntfys": ""}
"""Schemes whose host is a server of one's own: only where private targets are allowed."""
_MAIL: Final = "bcc cc from mode name pass reply smtp to user"
_PASTED: Final = (
    ("discord", "discord.com", ("/api/webhooks/",), "tts"),
    ("discord", "discordapp.com", ("/api/webhooks/",), "tts"),
    ("slack", "hooks.slack.com", ("/services/", "/workflows/", "/triggers/"), ""),
    ("gchat", "chat.googleapis.com", ("/v1/spaces/",), "key token threadkey"),
    ("ntfy", "ntfy.sh", ("/",), "priority tags"),
    ("workflows", ".logic.azure.com", ("/workflows/",), "api-version sig sp sv"),
    ("workflows", ".api.powerplatform.com", ("/powerautomate/",), "api-version sig sp sv"),
)
"""Addresses that services give out for pasting: whose, host (with a dot: its ending), how paths begin, parameters."""
_TEAMS: Final = (".logic.azure.com", ".api.powerplatform.com")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a firing is sent: a webhook of one's own, a service, or a mailbox.

    ``service`` is the scheme of what speaks to it. ``host`` and ``port`` are those of a webhook or of a server of one's
    own; of a service they are empty.
    ``parameters`` are the only ones that a service may be given.
    """

    url: str
    kind: Kind
    service: str = ""
    host: str = ""
    port: int = 0
    secure: bool = True
    parameters: frozenset[str] = frozenset()


def check_target(url: str, *, private: bool = False) -> Target:
    """Read a target; ``InputError`` names ``notify`` and says what is wrong with one that may not be.

    Names are not looked up here. ``private`` allows the own network, servers of one's own, and http.

    >>> check_target("https://example.com/hook").kind, check_target("tgram://123:abc/456").kind
    ('webhook', 'service')
    >>> check_target("json://127.0.0.1")
    Traceback (most recent call last):
    pairscope.errors.InputError: targets of the kind json:// are not allowed
    """
    parts = _split(url)
    match parts.scheme:
        case "http" | "https":
            return _pasted(url, parts) or _webhook(url, parts, private=private)
        case "mailto" | "mailtos":
            allowed = _allow(url, _MAIL)
            _check_host(_parameters(url).get("smtp") or parts.hostname or "", private=private)
            return Target(url, "mail", "mailto", parameters=allowed)
        case scheme if scheme in _SERVICES or scheme in _OWN:
            return _service(url, parts, private=private)
        case scheme:
            hint = "use https, mailto(s) or one of " + ", ".join(sorted(_SERVICES))
            raise InputError(f"targets of the kind {scheme[:20]}:// are not allowed", loc="notify", hint=hint)


def masked(url: str) -> str:
    """Return a target as it may be shown: its kind, its host where that is no secret, and a tag that tells it apart.

    >>> masked("https://example.com/hook?token=secret"), masked("tgram://123:secret/456")
    ('https://example.com/…#ea22', 'tgram://…#4558')
    >>> masked("mailtos://anna:secret@gmail.com")
    'mailtos://a…@gmail.com/…#5d1c'
    """
    try:
        parts = urlsplit(url)
        host, user = parts.hostname or "", parts.username or ""
    except ValueError:
        return f"{MARK}#{tag_of(url)[:4]}"
    where = ""
    if parts.scheme in {"http", "https"}:
        port = "" if _port(parts) in {None, 80, 443} else f":{_port(parts)}"
        where = f"{f'[{host}]' if ':' in host else host}{port}/"
    elif parts.scheme in {"mailto", "mailtos"}:
        who = unquote(user)[:1]
        where = f"{f'{who}{MARK}@' if who else ''}{host}/"
    return f"{parts.scheme[:20]}://{where}{MARK}#{tag_of(url)[:4]}"


def tag_of(url: str) -> str:
    """Return twelve hexadecimal digits that stand for a target; a password in it plays no part."""
    try:
        parts = urlsplit(url)
        password = parts.password if parts.scheme in {"mailto", "mailtos"} else None
    except ValueError:
        password = None
    known = url.replace(f":{password}@", "@", 1) if password else url
    return hashlib.sha256(known.encode()).hexdigest()[:12]


def restored(given: str, held: Iterable[str]) -> str:
    """Return the held target that a masked one stands for, or what was given.

    >>> restored(masked("https://example.com/hook"), ["https://example.com/hook"])
    'https://example.com/hook'
    """
    if MARK not in given:
        return given
    return next((url for url in held if masked(url) == given), given)


def _split(url: object) -> SplitResult:
    """Split what may be a URL: printable ASCII, one scheme, a port that is a number."""
    if not isinstance(url, str):
        raise InputError("a target is a text, like https://example.com/hook", loc="notify")
    if MARK in url:
        raise InputError("a target that is shown with … lacks its secret: give it whole", loc="notify")
    if len(url) > LONGEST:
        raise InputError(f"a target has at most {LONGEST} characters", loc="notify")
    if not url.isascii() or any(c <= " " or c in '\\"<>^`{|}\x7f' for c in url):
        raise InputError("a target is written in printable ASCII, other characters as %XX", loc="notify")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InputError("a target cannot be read as a URL", loc="notify") from None  # its reason quotes the target
    if not parts.scheme or "://" not in url:
        raise InputError("a target is a URL, like https://example.com/hook", loc="notify")
    return parts


def _port(parts: SplitResult) -> int | None:
    """Return the port that is called; None where it is none, 0 where the scheme has no usual one."""
    try:
        return {"https": 443, "http": 80}.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        return None


def _webhook(url: str, parts: SplitResult, *, private: bool) -> Target:
    if "@" in parts.netloc:
        hint = "the signature tells the receiver who sent it; a token may stand in the path"
        raise InputError("a webhook's address has no user and no password in it", loc="notify", hint=hint)
    secure = parts.scheme == "https"
    if not secure and not private:
        raise InputError("webhooks go over https", loc="notify", hint=ALLOW)
    host = parts.hostname or ""
    port = _port(parts)
    if port is None or port == 0:
        raise InputError("a port is a number from 1 to 65535", loc="notify")
    if not private and port != 443 and port < 1024:
        raise InputError(f"port {port} is not called: 443, or 1024 and above", loc="notify", hint=ALLOW)
    _check_host(host, private=private)
    return Target(url, "webhook", host=host, port=port, secure=secure)


def _pasted(url: str, parts: SplitResult) -> Target | None:
    """Recognise the address that a service gives out."""
    host = parts.hostname or ""
    for service, name, paths, parameters in _PASTED:
        ours = host.endswith(name) if name.startswith(".") else host == name
        if ours and parts.path.startswith(paths) and parts.path not in paths:
            if parts.scheme != "https" or "@" in parts.netloc or _port(parts) != 443:
                raise InputError(f"an address of {name.strip('.')} is given as it was copied, https", loc="notify")
            return Target(url, "service", service, parameters=_allow(url, parameters))
    return None


def _service(url: str, parts: SplitResult, *, private: bool) -> Target:
    scheme, host = parts.scheme, parts.hostname or ""
    path = parts.path.strip("/")
    own = scheme in _OWN and (scheme not in _SERVICES or bool(path or parts.username or _port(parts)))
    if own and host == "ntfy.sh":
        own = False
    allowed = _allow(url, f"{_SERVICES.get(scheme, '')} {_OWN.get(scheme, '')}")
    if own:
        if not private:
            raise InputError(f"a server of one's own is not called by {scheme}://", loc="notify", hint=ALLOW)
        _check_host(host, private=True)
        return Target(
            url, "service", scheme, host, _port(parts) or (443 if scheme.endswith("s") else 80), parameters=allowed
        )
    if scheme.startswith("workflow") and not host.endswith(_TEAMS):
        raise InputError(f"{scheme}:// goes to Microsoft's own hosts, *{' or *'.join(_TEAMS)}", loc="notify")
    if not host and not path:
        raise InputError(f"{scheme}:// lacks what says whom to tell", loc="notify")
    return Target(url, "service", scheme, parameters=allowed)


def _allow(url: str, parameters: str) -> frozenset[str]:
    """Refuse parameters that are not known to be harmless: others would have files read, or hosts called."""
    allowed = frozenset(parameters.split())
    for name in _parameters(url):
        if name not in allowed:
            known = f"; known are {', '.join(sorted(allowed))}" if allowed else ""
            scheme = url.partition(":")[0]
            raise InputError(f"{scheme}:// takes no parameter {name[:40]!r} here{known}", loc="notify")
    return allowed


def _parameters(url: str) -> dict[str, str]:
    """Return a target's parameters as services read them: from the first ``?`` on, parted by ``&`` or ``;``."""
    pairs = [pair.partition("=") for pair in url.partition("?")[2].replace(";", "&").split("&") if pair]
    return {unquote(name).lower().strip(): unquote(value).strip() for name, _, value in pairs}


def _check_host(host: str, *, private: bool) -> None:
    """Refuse a host that is none, or that spells an address which is not called."""
    if not host or len(host) > 253 or "%" in host:
        raise InputError("a target names a host", loc="notify")
    address = literal(host)
    why = "" if address is None else refusal(address, private=private)
    if not private and (host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost")):
        why = "loopback"
    if why:
        raise InputError(f"{host} is not called: its address is {why}", loc="notify", hint=ALLOW)
