"""Services that people are told by (Telegram, Slack, Discord, e-mail, …), spoken to through apprise."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pairscope.delivery.attempts import Outcome
from pairscope.delivery.guard import ALLOW, Guard
from pairscope.delivery.mail import Mail, send_mail
from pairscope.delivery.targets import Target
from pairscope.delivery.threads import Threads
from pairscope.delivery.words import Words
from pairscope.errors import InputError

__all__ = ["Services", "said_without"]

SOCKET_S: Final = 5.0
CALL_S: Final = 12.0
_LONGEST: Final = 200
_FINAL: Final = {400, 401, 403, 404, 410}
"""What a service answers when the key, the chat or the hook is wrong; it will be tomorrow too."""
_PLUGINS: Final = {
    "discord": "discord.NotifyDiscord",
    "gchat": "google_chat.NotifyGoogleChat",
    "gotify": "gotify.NotifyGotify",
    "gotifys": "gotify.NotifyGotify",
    "ifttt": "ifttt.NotifyIFTTT",
    "line": "line.NotifyLine",
    "mailto": "email.NotifyEmail",
    "mmost": "mattermost.NotifyMattermost",
    "mmosts": "mattermost.NotifyMattermost",
    "ntfy": "ntfy.NotifyNtfy",
    "ntfys": "ntfy.NotifyNtfy",
    "opsgenie": "opsgenie.NotifyOpsgenie",
    "pagerduty": "pagerduty.NotifyPagerDuty",
    "pbul": "pushbullet.NotifyPushBullet",
    "pover": "pushover.NotifyPushover",
    "psafers": "pushsafer.NotifyPushSafer",
    "slack": "slack.NotifySlack",
    "spush": "simplepush.NotifySimplePush",
    "tgram": "telegram.NotifyTelegram",
    "twilio": "twilio.NotifyTwilio",
    "webex": "webexteams.NotifyWebexTeams",
    "workflow": "workflows.NotifyWorkflows",
    "workflows": "workflows.NotifyWorkflows",
    "wxteams": "webexteams.NotifyWebexTeams",
}
"""The plugin of each service; the other hundred and fifty are never loaded, which would take most of a second."""
_SAID: Final = {"WARNING", "ERROR", "CRITICAL"}
_INSECURE: Final = "insecure"


class Services:
    """Tells services; their library is imported at the first message, for it takes a second to."""

    def __init__(self, guard: Guard, threads: Threads, *, trust: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._trust = trust
        self._threads = threads

    async def check(self, target: Target) -> tuple[str, int]:
        """Return the host and port that are to be looked at, empty for a service's own.

        Raises ``InputError`` where the service's address is incomplete, or goes elsewhere than it seems to.
        """
        private = self._guard.private
        if target.kind == "mail":
            mail = await self._threads.call(lambda: _mail_of(target, private=private))
            return mail.host, mail.port
        await self._threads.call(lambda: _open(target, private=private))
        return target.host, target.port

    async def send(self, target: Target, words: Words) -> Outcome:
        """Tell a service once."""
        private = self._guard.private
        try:
            if target.kind == "mail":
                mail = await self._threads.call(lambda: _mail_of(target, private=private))
            else:
                await self.check(target)
        except InputError as error:
            return Outcome(ok=False, error=str(error), refused=True, final=True)
        try:
            if target.kind == "mail":
                addresses = await self._guard.addresses(mail.host, mail.port)
                return await self._threads.call(lambda: send_mail(mail, addresses, words, self._trust))
            if target.host:
                await self._guard.addresses(target.host, target.port)
            return await self._threads.call(lambda: _tell(target, words, private=private))
        except InputError as error:
            return Outcome(ok=False, error=str(error), refused=True)
        except (OSError, UnicodeError) as error:
            return Outcome(ok=False, error=said_without(target.url, [str(error) or type(error).__name__]))


def said_without(url: str, lines: Iterable[str]) -> str:
    """Return the last thing that was said, without anything that the target's URL holds.

    >>> said_without("tgram://123:secret/456", ["Failed: POST /bot123:secret/send, error=401."])
    'Failed: POST …'
    >>> said_without("pover://user@token", ["user token is invalid, error=400."])
    '… … is invalid, error=400.'
    """
    said = [line.strip() for line in lines if line.strip()]
    text = re.sub(r"\s+", " ", said[-1]) if said else "it did not take the message"
    text = re.sub(r"(with url: |https?://|\s/)\S.*", lambda m: " …" if m[0].startswith(" ") else "…", text)
    parts = urlsplit(url)
    pieces = {unquote(piece) for piece in re.split(r"[/:@?&=,;]+", url.partition("://")[2])}
    pieces |= {unquote(piece) for piece in (parts.username or "", parts.password or "")}
    pieces |= {value for _, value in parse_qsl(parts.query)}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) > 2:
            text = re.sub(re.escape(piece), "…", text, flags=re.IGNORECASE)
    return text[:_LONGEST]


def _tell(target: Target, words: Words, *, private: bool) -> Outcome:
    """Tell a service, in a thread; the reason of a failure is what its plugin said last."""
    asset = _asset()
    import apprise

    teller = apprise.Apprise(asset=asset)
    teller.add(_open(target, private=private))
    result = teller.notify(
        body=words.text,
        title=words.title,
        notify_type=apprise.NotifyType.WARNING,  # what is for information opens no incident
        body_format=apprise.NotifyFormat.TEXT,
    )
    if result:
        return Outcome(ok=True)
    said = [str(entry.message) for service in result for entry in service.logs() if entry.level in _SAID]
    error = said_without(target.url, said)
    found = re.search(r"error\s?=\s?(\d{3})\b", " ".join(said))
    status = int(found[1]) if found else None
    return Outcome(ok=False, error=error, status=status, final=status in _FINAL)


def _asset() -> Any:
    """Return how apprise is to behave: one call, no redirects, nothing on disk, one attempt, no pictures."""
    _hush()  # the library speaks as soon as it is imported
    import apprise

    return apprise.AppriseAsset(
        app_id="Pairscope",
        app_desc="Pairscope",
        app_url="",
        async_mode=False,
        http_redirects=False,
        default_service_retry=0,
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode="memory",
        service_timeout=CALL_S,
        allow_templates=False,
        secure_logging=True,
        image_url_mask="",
        image_url_logo="",
    )


def _hush() -> None:
    """Keep what the library logs to ourselves: it may quote tokens. Results carry it too, and are cleaned."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _open(target: Target, *, private: bool) -> Any:
    """Return the plugin that a target means; ``InputError`` where there is none, or it speaks to another host."""
    asset, scheme = _asset(), urlsplit(target.url).scheme
    from apprise.exception import AppriseException

    module, _, name = _PLUGINS[target.service].partition(".")
    kind = getattr(import_module(f"apprise.plugins.{module}"), name)
    read: Any = kind.parse_native_url(target.url) if scheme == "https" else kind.parse_url(target.url)
    try:
        plugin = kind(**read, asset=asset) if read else None
    except (AppriseException, TypeError, ValueError):
        plugin = None
    if plugin is None:
        raise InputError(
            f"the {scheme}:// target is incomplete",
            loc="notify",
            hint="https://appriseit.com/services says what each service needs",
        ) from None  # its own words may quote the target
    added = {"mode"} if scheme == "https" else set()  # by the plugin itself, to what was pasted
    given = set(read.get("qsd", {})) - added
    odd = sorted(given - target.parameters) + [key for name in ("qsd+", "qsd-", "qsd:") for key in read.get(name, {})]
    if odd:
        raise InputError(f"{scheme}:// takes no parameter {odd[0][:40]!r} here", loc="notify")
    if getattr(plugin, "mode", None) == "private" and not private and plugin.host != "ntfy.sh":
        raise InputError(f"a server of one's own is not called by {scheme}://", loc="notify", hint=ALLOW)
    plugin.socket_connect_timeout = SOCKET_S
    plugin.socket_read_timeout = SOCKET_S
    return plugin


def _mail_of(target: Target, *, private: bool) -> Mail:
    """Return a mailbox's server and addresses; apprise knows those of the common providers."""
    plugin = _open(target, private=private)
    mode = str(plugin.secure_mode)
    if mode == _INSECURE and plugin.password and not private:
        raise InputError("a password is not sent without encryption: use mailtos://", loc="notify", hint=ALLOW)
    port = int(plugin.port or 0)
    if not private and port not in {25, 465, 587, 2525} and port < 1024:
        raise InputError(f"port {port} is not called: 25, 465, 587, or 1024 and above", loc="notify", hint=ALLOW)
    name, sender = plugin.from_addr
    return Mail(
        host=str(plugin.smtp_host),
        port=port,
        mode=mode,
        user=str(plugin.user or ""),
        password=str(plugin.password or ""),
        sender=(str(name or ""), str(sender)),
        to=tuple(str(address) for _, address in plugin.targets),
        copies=tuple(sorted(str(address) for address in plugin.cc)),
        blind=tuple(sorted(str(address) for address in plugin.bcc)),
        reply=tuple(sorted(str(address) for address in plugin.reply_to)),
    )
