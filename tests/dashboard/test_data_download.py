"""Downloads through the page's own origin: whole, taken up again, refused in words, and only what was offered."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pairscope.dashboard.data_download import DOWNLOADS, ApiDoor, Download, Downloads, downloads

from .scripted_market import ScriptedMarket


@pytest.fixture(scope="module")
def page() -> TestClient:
    return TestClient(Starlette(routes=[DOWNLOADS]))


def offered(address: str, key: str = "") -> str:
    """Return the link to a file, as a page offers it."""
    return "/" + downloads().offer(
        Download(ApiDoor(address, key), "/api/export/BTCUSDT", (("timeframe", "1m"),), "BTCUSDT-1m.csv")
    )


def test_a_file_comes_through_as_the_api_gives_it_with_the_dashboards_key(
    page: TestClient, api: str, market: ScriptedMarket
) -> None:
    link = offered(api, "secret")
    assert "secret" not in link
    answer = page.get(link)
    assert answer.status_code == 200
    assert len(answer.text.splitlines()) == market.data.rows + 1
    assert answer.headers["content-disposition"] == 'attachment; filename="as-the-api-names-it.csv"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert market.data.asked == [("export", {"path": "BTCUSDT", "timeframe": "1m", "x-api-key": "secret"})]


def test_a_broken_download_goes_on_where_it_ended(page: TestClient, api: str, market: ScriptedMarket) -> None:
    link = offered(api)
    whole = page.get(link)
    rest = page.get(link, headers={"Range": "bytes=100-", "If-Range": whole.headers["etag"]})
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    assert whole.content[:100] + rest.content == whole.content
    assert market.data.asked[-1][1]["if-range"] == '"1"'


def test_what_the_api_refuses_is_known_before_the_browser_downloads(
    page: TestClient, api: str, market: ScriptedMarket
) -> None:
    assert page.head(offered(api)).headers["content-disposition"].endswith('"as-the-api-names-it.csv"')
    market.data.refusal = "lies in the future"
    refused = page.head(offered(api))
    assert refused.status_code == 422
    assert unquote(refused.headers["x-reason"]) == "start: lies in the future"
    assert page.get(offered("http://127.0.0.1:1")).status_code == 503


def test_nobody_gets_what_was_never_offered(page: TestClient, api: str, market: ScriptedMarket) -> None:
    token = offered(api).split("/")[2]
    assert page.get(f"/pairscope-download/{token[::-1]}/BTCUSDT-1m.csv").status_code == 404
    assert not market.data.asked


def test_the_same_file_has_the_same_link_and_the_oldest_of_a_thousand_goes() -> None:
    held, door = Downloads(), ApiDoor("http://127.0.0.1:1")
    links = [held.offer(Download(door, f"/api/export/{i}", (), "x.csv")) for i in range(1001)]
    assert len(set(links)) == 1001
    assert held.offer(Download(door, "/api/export/1000", (), "x.csv")) == links[1000]
    assert held.find(links[0].split("/")[1]) is None
    assert held.find(links[1].split("/")[1]) is not None
