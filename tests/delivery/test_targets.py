"""The allow-list of targets: what is taken, what is refused and by which words, and that secrets are not shown."""

from __future__ import annotations

import pytest

from pairscope.delivery.targets import LONGEST, check_target, masked, restored, tag_of
from pairscope.errors import InputError

TAKEN = {
    "https://example.com": "webhook",
    "https://example.com/hook?token=abc": "webhook",
    "https://example.com:8443/hook": "webhook",
    "https://93.184.215.14/hook": "webhook",
    "https://[2606:4700:4700::1111]/hook": "webhook",
    "https://xn--bcher-kva.example/": "webhook",
    "tgram://123456789:abcdefg_hijklmnop/12315544/": "service",
    "tgram://123456789:abcdefg_hijklmnop/12315544/?silent=yes": "service",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general": "service",
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js": "service",
    "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js": "service",
    "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ": "service",
    "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=k&token=t": "service",
    "https://prod-1.westus.logic.azure.com:443/workflows/6/triggers/manual/paths/invoke?sig=x&sv=1.0&sp=a": "service",
    "https://ntfy.sh/my-alerts": "service",
    "pover://user@token": "service",
    "ntfy://my-alerts": "service",
    "ntfys://my-alerts?priority=high": "service",
    "pagerduty://integration@key": "service",
    "opsgenie://key": "service",
    "mailtos://anna:secret@gmail.com": "mail",
    "mailtos://anna:secret@example.com?smtp=mail.example.com&to=bob@example.com": "mail",
}
REFUSED = {
    "": "is a URL",
    "example.com/hook": "is a URL",
    "https:example.com": "is a URL",
    "https://": "names a host",
    "http://example.com/hook": "https",
    "https://user:secret@example.com/hook": "no user",
    "https://example.com@127.0.0.1/": "no user",
    "https://127.0.0.1/hook": "loopback",
    "https://localhost/hook": "loopback",
    "https://LOCALHOST./hook": "loopback",
    "https://api.localhost/hook": "loopback",
    "https://2130706433/": "loopback",
    "https://0x7f000001/": "loopback",
    "https://127.1/": "loopback",
    "https://0177.0.0.1/": "loopback",
    "https://[::1]/": "loopback",
    "https://[::ffff:127.0.0.1]/": "loopback",
    "https://[::ffff:7f00:1]/": "loopback",
    "https://169.254.169.254/latest/meta-data": "link-local",
    "https://[fe80::1%25eth0]/": "names a host",
    "https://10.0.0.1/": "private",
    "https://0.0.0.0/": "unspecified",
    "https://example.com:22/": "port 22",
    "https://example.com:0/": "port",
    "https://example.com:99999/": "port",
    "https://example.com:x/": "port",
    "https://ex ample.com/": "printable ASCII",
    "https://example.com\\@127.0.0.1/": "printable ASCII",
    "https://example.com/\n": "printable ASCII",
    "https://bücher.example/": "printable ASCII",
    "https://exa%6dple.com/": "names a host",
    "https://[::1/": "cannot be read",
    "https://example.com/" + "a" * LONGEST: "at most",
    "https://discord.com:8443/api/webhooks/1/x": "as it was copied",
    "http://discord.com/api/webhooks/1/x": "as it was copied",
    "https://hooks.slack.com/services/T/A/x?template=file:///etc/passwd": "'template'",
    "json://example.com": "json:// are not allowed",
    "jsons://example.com": "not allowed",
    "xml://example.com": "not allowed",
    "form://example.com": "not allowed",
    "file:///etc/passwd": "not allowed",
    "syslog://": "not allowed",
    "dbus://": "not allowed",
    "gnome://": "not allowed",
    "ftp://example.com": "not allowed",
    "apprise://example.com/token": "not allowed",
    "matrix://user:pass@example.com": "not allowed",
    "psafer://key": "not allowed",  # it would go without encryption
    "gotify://example.com/token": "server of one's own",
    "ntfy://example.com/topic": "server of one's own",
    "ntfy://user:pass@example.com": "server of one's own",
    "ntfy://topic:8080": "server of one's own",
    "ntfy://topic?mode=private": "'mode'",
    "mmost://example.com/token": "server of one's own",
    "workflows://example.com/a/b": "Microsoft's own hosts",
    "workflows://logic.azure.com.evil.example/a/b": "Microsoft's own hosts",
    "tgram://": "whom to tell",
    "slack://T/A/x/#general?template=file:///etc/passwd": "'template'",
    "slack://T/A/x?footer=yes;template=x": "'template'",
    "slack://T/A/x?TEMPLATE=x": "'template'",
    "slack://T/A/x?%74emplate=x": "'template'",
    "discord://1/x?redirect=yes": "'redirect'",
    "discord://1/x?verify=no": "'verify'",
    "discord://1/x?+Header=x": "'+header'",
    "discord://1/x?:key=x": "':key'",
    "mailto://a:b@example.com?smtp=127.0.0.1": "loopback",
    "mailto://a:b@example.com?smtp=localhost": "loopback",
    "mailto://a:b@10.0.0.1": "private",
    "mailto://a:b@example.com?pgp=sign&pgpprv=/etc/passwd": "'pgp'",
    "mailto://a:b@example.com?wkd=yes": "'wkd'",
}


@pytest.mark.parametrize(("url", "kind"), TAKEN.items())
def test_a_target_that_is_on_the_list_is_taken_as_what_it_is(url: str, kind: str) -> None:
    assert check_target(url).kind == kind


@pytest.mark.parametrize(("url", "words"), REFUSED.items())
def test_a_target_that_is_not_is_refused_and_the_field_is_named(url: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        check_target(url)
    assert caught.value.loc == "notify"
    assert words in str(caught.value)
    assert "secret" not in caught.value.line()


def test_what_is_no_text_is_refused_too() -> None:
    for odd in (None, 7, ["https://example.com"], b"https://example.com"):
        with pytest.raises(InputError, match="a target is a text"):
            check_target(odd)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/hook", "https://10.0.0.7/hook", "http://localhost/hook", "https://example.com:22/hook",
     "ntfy://ntfy.home/topic", "gotify://gotify.home/token", "mmost://chat.home/token", "mailtos://a:b@192.168.1.1"],
)  # fmt: skip
def test_the_own_network_and_own_servers_are_taken_where_they_are_allowed(url: str) -> None:
    with pytest.raises(InputError):
        check_target(url)
    check_target(url, private=True)


def test_a_cloud_s_own_address_is_refused_even_then() -> None:
    with pytest.raises(InputError, match="link-local"):
        check_target("http://169.254.169.254/latest/meta-data", private=True)


@pytest.mark.parametrize("url", TAKEN)
def test_a_masked_target_shows_no_secret_and_cannot_be_sent_to(url: str) -> None:
    shown = masked(url)
    for secret in ("secret", "token=", "abcdefg", "JHMHI", "TIiajk", "key", "my-alerts", "services", "/hook?"):
        assert secret not in shown
    with pytest.raises(InputError, match="lacks its secret"):
        check_target(shown)
    assert restored(shown, [*TAKEN]) == url


def test_masked_targets_of_one_kind_are_told_apart_and_a_password_plays_no_part() -> None:
    assert len({masked(url) for url in TAKEN}) == len(TAKEN)
    assert tag_of("mailtos://anna:one@gmail.com") == tag_of("mailtos://anna:two@gmail.com")
    assert tag_of("mailtos://anna:one@gmail.com") != tag_of("mailtos://bob:one@gmail.com")
    assert masked("nonsense") == "://…#" + tag_of("nonsense")[:4]
    assert masked("https://[broken/") == "…#" + tag_of("https://[broken/")[:4]


def test_what_is_not_masked_stays_as_it_was_given() -> None:
    assert restored("https://a.example", ["https://b.example"]) == "https://a.example"
    assert restored("https://a.example/…#0000", ["https://b.example"]) == "https://a.example/…#0000"
