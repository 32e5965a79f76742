"""The decisions under docs/adr: each has its page in the same form, its line in the index, and a number that holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ADR = Path(__file__).resolve().parents[2] / "docs" / "adr"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(ADR.glob("[0-9]*.md"))}
INDEX = (ADR / "README.md").read_text(encoding="utf-8")
LONGEST = 40


def test_the_index_lists_every_page_with_its_title_and_status() -> None:
    listed = re.findall(
        r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \| (accepted|superseded by \d{4}) \|$", INDEX, re.MULTILINE
    )
    assert [name for _, name, _, _ in listed] == list(PAGES)
    for number, name, title, _ in listed:
        assert PAGES[name].startswith(f"# {number}. {title}\n"), name


def test_every_decision_gives_its_context_what_was_decided_and_what_follows() -> None:
    for name, text in PAGES.items():
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], name
        assert re.search(r"^\*(Accepted|Superseded by \d{4}), \w+ \d{4}\.\*$", text, re.MULTILINE), name


def test_a_decision_is_read_in_a_minute() -> None:
    assert {name: text.count("\n") for name, text in PAGES.items() if text.count("\n") > LONGEST} == {}


def test_every_number_that_is_cited_has_its_page(modules: list[Any], pages: dict[str, str]) -> None:
    texts = {**{module.path: module.text for module in modules}, **pages}
    cited = {(where, number) for where, text in texts.items() for number in re.findall(r"\bADR (\d{4})\b", text)}
    numbers = {name[:4] for name in PAGES}
    assert cited
    assert {(where, number) for where, number in cited if number not in numbers} == set()
