"""Signatures as the Standard Webhooks print them, the page's receiver as it stands, and where the secret is kept."""

from __future__ import annotations

import base64
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from pairscope.delivery.webhook import key_of, secret_of, sign
from pairscope.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_the_signature_of_the_specification_s_example_comes_out() -> None:
    key = base64.b64decode("plJ3nmyCDGBKInavdOK15jsl")
    body = b'{"event_type":"ping","data":{"success":true}}'
    signature = sign(key, "msg_loFOjxBNrRLzqYUf", 1731705121, body)
    assert signature == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


@pytest.fixture(scope="module")
def firing_of() -> Any:
    """The receiver that the page shows, run as it stands there."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("## Where alerts go")[2]
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "operations.md", "exec"), names)
    return names["firing_of"]


async def test_the_receiver_of_the_page_takes_what_is_sent_and_nothing_else(house: Any, firing_of: Any) -> None:
    receiver = await house.receiver()
    house.clock.now_ns = time.time_ns()
    await house.begin(secret=SECRET)
    name = house.fire(receiver.url())
    await house.until(lambda: house.ended)
    (post,) = receiver.posts

    message, firing = firing_of(post.headers, post.body, SECRET)
    assert message == post.headers["webhook-id"]
    assert firing["id"] == name
    for headers, body, secret in (
        (post.headers, post.body + b" ", SECRET),
        (post.headers | {"webhook-id": "rule-2"}, post.body, SECRET),
        (post.headers | {"webhook-timestamp": str(int(time.time()) + 1)}, post.body, SECRET),
        (post.headers | {"webhook-signature": "v1,AAAA"}, post.body, SECRET),
        (post.headers, post.body, "whsec_" + base64.b64encode(bytes(32)).decode()),
    ):
        with pytest.raises(ValueError, match="not from our Pairscope"):
            firing_of(headers, body, secret)
    old = int(time.time()) - 3600
    signature = sign(bytes(range(32)), "a-1", old, b"{}")
    headers = {"webhook-id": "a-1", "webhook-timestamp": str(old), "webhook-signature": signature}
    with pytest.raises(ValueError, match="too old"):
        firing_of(headers, b"{}", SECRET)


def test_a_secret_is_made_once_kept_for_its_owner_alone_and_given_way_to_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "new" / "webhook.secret"
    made = secret_of("", path)
    assert len(key_of(made)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_of("", path) == made
    assert [file.name for file in path.parent.iterdir()] == ["webhook.secret"]
    assert secret_of("", tmp_path / "other.secret") != made
    assert secret_of(SECRET, path) == SECRET
    assert path.read_text(encoding="ascii").strip() == made


@pytest.mark.parametrize("secret", ["hush", "whsec_", "whsec_!!!!", "whsec_" + base64.b64encode(b"short").decode()])
def test_a_secret_that_is_none_is_refused_by_the_setting_s_name_and_not_repeated(secret: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        secret_of(secret, tmp_path / "webhook.secret")
    assert caught.value.loc == "PAIRSCOPE_WEBHOOK_SECRET"
    assert secret not in str(caught.value) or secret == "whsec_"
    (tmp_path / "webhook.secret").write_text("nonsense\n")
    with pytest.raises(ConfigError):
        secret_of("", tmp_path / "webhook.secret")


async def test_when_one_of_several_addresses_does_not_answer_the_next_one_is_called(house: Any) -> None:
    receiver = await house.receiver()

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]  # nobody listens at the first

    await house.begin(resolve=resolve)
    house.fire(f"http://hooks.example:{receiver.port}/hook")
    await house.until(lambda: house.ended)
    assert house.ended[0]["status"] == "delivered"
    assert [a["ok"] for a in house.ended[0]["attempts"]] == [True]


async def test_the_answer_s_cookies_and_the_environment_s_proxies_change_nothing(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    cookie = b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
    receiver = await house.receiver(lambda _: cookie)
    await house.begin()
    house.fire(receiver.url())
    house.fire(receiver.url())
    await house.until(lambda: len(house.ended) == 2)
    assert all("cookie" not in post.headers for post in receiver.posts)
    assert {ended["status"] for ended in house.ended} == {"delivered"}
