"""The evidence as a page: its verdict, what it lets through, its colours and pictures. The browser's part is apart."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from byov_migrate.errors import ConfigurationError, PersonNeeded
from byov_migrate.jobs.evidence import Answer, Evidence, Withheld
from byov_migrate.report.evidence import render, require_ready, write_page
from byov_migrate.report.evidence.judging import judge
from byov_migrate.report.evidence.markup import element, figure, joined
from byov_migrate.report.evidence.sections import LISTED
from byov_migrate.state.comparison import KINDS, Difference
from tests.evidences import ROWS, made_evidence, made_run, made_table, made_verification

matplotlib = pytest.importorskip("matplotlib", reason="the report extra is not installed")

MISSING = Difference("missing", "17", "")
VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """Ids, texts, and whether every element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep names and ids; SVG closes itself at times."""
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As an element that is closed."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Must be the last one that was opened."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep what is read."""
        if self.open and self.open[-1] != "style":
            self.words += f" {data}"


def filled(records: int) -> Evidence:
    """Something stands in so many records where nothing may."""
    there = Answer({}, records, 0.0)
    return made_evidence(tables=(made_table(withheld=(Withheld("contact", "column that stays", there),)),))


@pytest.mark.parametrize(
    ("evidence", "mood", "word"),
    [
        (made_evidence(), "good", "holds what PostgreSQL holds"),
        (made_evidence(MISSING), "bad", "1 difference"),
        (made_evidence(found=made_verification(skipped=("text",))), "look", "Left out on request"),
        (made_evidence(found=made_verification(stopped=True)), "look", "Ended early"),
        (made_evidence(kind="sandbox"), "look", "It is not RushDB"),
        (made_evidence(digest="other"), "look", "the configuration is now plan other"),
        (made_evidence(runs=()), "good", ""),
        (made_evidence(runs=(replace(made_run(0), digest="older"), made_run(1))), "good", "other plans: older"),
        (filled(3), "bad", "something stands in contact"),
        (replace(filled(3), found=made_verification(skipped=("text",))), "bad", "contact"),
        (made_evidence(found=made_verification(tables=())), "look", "nothing to compare"),
        (made_evidence(tables=(made_table(accepted=2),)), "good", "2 more accepted"),
    ],
)
def test_the_verdict_is_good_only_when_all_was_compared_and_equal(evidence: Evidence, mood: str, word: str) -> None:
    """Green over a part that was left out, another plan, or a stand-in for RushDB would be signed."""
    judgement = judge(evidence)
    assert judgement.mood == mood
    assert word in " ".join([judgement.sentence, *judgement.notes])


def test_what_was_left_out_is_not_shown_as_zero() -> None:
    """A zero that nobody counted is a lie in a table."""
    words = Page(render(made_evidence(found=made_verification(skipped=("vectors", "text"))))).words
    assert words.count("not compared") == 2
    assert Page(render(made_evidence())).words.count("not compared") == 0


def test_differences_are_listed_up_to_a_limit() -> None:
    """A million keys make no page; how many there are is said."""
    found = [Difference("missing", f"key{number}", "") for number in range(500)]
    words = Page(render(made_evidence(*found))).words
    assert f"the first {LISTED} of 500" in words
    assert len(set(re.findall(r"key\d+", words))) == LISTED


def test_no_key_stands_in_a_page_without_differences() -> None:
    """Keys are people and orders; the page is handed round."""
    assert "What differs" not in Page(render(made_evidence())).words


def test_names_are_text_and_never_markup() -> None:
    """Tables and columns are named by whoever made them."""
    name = "\"'><script>alert(1)</script><img src=x onerror=alert(2)></style></title>&amp;"
    hostile = made_table(table=name, label=name, columns=(name,), filters=(name,))
    hostile = replace(hostile, embeddings=(replace(hostile.embeddings[0], property_name=name, model=name),))
    found = made_verification(Difference("text", name, name))
    found = replace(found, tables=(replace(found.tables[0], table=name, label=name),))
    page = Page(render(made_evidence(tables=(hostile,), found=found, name=name, url=name, database=name)))
    assert {"script", "img"}.isdisjoint(page.tags)
    assert page.words.count(name) >= 10


def test_characters_that_hide_or_turn_text_are_spelled_out() -> None:
    """`txt.exe` that reads as `exe.txt`, or a name that cannot be told from another."""
    assert element("p", "a\u202eb\u200bc\x07") == "<p>a\\u202eb\\u200bc\\u0007</p>"
    assert element("p", title="\u202e") == '<p title="\\u202e"></p>'


def test_a_number_is_shown_for_people_and_kept_for_programs() -> None:
    """Both come from one value, so they cannot differ."""
    assert figure(1234, path="tables.0.rows") == '<data value="1234" data-path="tables.0.rows">1,234</data>'
    assert joined("<", figure(0.5, shown="50 %")) == '&lt;<data value="0.5">50 %</data>'


def test_the_page_is_one_well_formed_document_with_ids_of_its_own() -> None:
    """Pictures made one by one use the same ids, and the second would be drawn with parts of the first."""
    one = made_table().embeddings[0]
    page = Page(render(made_evidence(tables=(made_table(embeddings=(one, replace(one, property_name="summary"))),))))
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == 5
    assert page.tags.count("caption") == page.tags.count("table")


def test_the_page_names_no_other_place() -> None:
    """Nothing is fetched: no address but that of the target, in words."""
    text = render(made_evidence())
    assert set(re.findall(r"https?://[^\"'\s<,]+", text)) == {"https://rushdb.example.org"}
    assert not re.search(r"(?i)@import|url\((?!#)|\bsrc=|<script|\bon[a-z]+=", text)


def test_pictures_take_their_colours_from_the_page() -> None:
    """Black on black in the dark."""
    drawn = "".join(re.findall(r"(?s)<svg.*?</svg>", render(made_evidence())))
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", drawn)) <= {
        "none",
        "var(--ink)",
        "var(--muted)",
        "var(--accent)",
        "var(--bad)",
    }


def test_the_same_evidence_gives_the_same_page() -> None:
    """Two prints of one proof can be laid side by side."""
    assert render(made_evidence()) == render(made_evidence())


def test_pictures_are_the_same_whatever_matplotlib_is_set_to() -> None:
    """A settings file in the working directory would change a proof, or run a program for it."""
    plain = render(made_evidence())
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "text.usetex": True}):
        assert render(made_evidence()) == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_a_page_without_models_runs_or_vectors_can_be_made() -> None:
    """Ready vectors, a first verify, a target that lost its index."""
    one = replace(made_table().embeddings[0], is_ready=True, model=None, fingerprint=None, dimension=None, window=None)
    bare = replace(one, vectors=None, lengths=None, scores=({}, {}, {}))
    page = Page(render(made_evidence(tables=(made_table(embeddings=(bare,)),), runs=(), project=None)))
    assert page.tags.count("svg") == 0
    assert "no run that ended has written a row" in page.words
    assert Page(render(made_evidence(tables=(made_table(embeddings=()),)))).tags.count("svg") == 1


def palettes() -> dict[str, dict[str, str]]:
    """Theme -> name -> colour, as the style sheet has them."""
    sheet = files("byov_migrate.report.evidence").joinpath("page.css").read_text(encoding="utf-8")
    blocks = re.findall(r"(?s):root \{(.*?)\}", sheet)
    colours = [dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]+)", block)) for block in blocks]
    return dict(zip(("light", "dark", "print"), colours, strict=True))


def luminance(colour: str) -> float:
    """As the contrast rules of the web define it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_everything_that_is_read_has_contrast(theme: str) -> None:
    """4.5 to 1, for eyes that need it."""
    colours = palettes()[theme]
    pairs = [(ink, "paper") for ink in ("ink", "muted", "accent", "bad")]
    pairs += [(mood, f"{mood}-panel") for mood in ("good", "bad", "look")]
    pairs += [("ink", panel) for panel in ("panel", "good-panel", "bad-panel", "look-panel")]
    for ink, paper in pairs:
        light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


def test_a_page_that_cannot_be_made_is_known_before_anything_is_read(tmp_path: Path) -> None:
    """A verify of hours that ends with nothing to show."""
    require_ready(tmp_path / "report.html")
    for path, word in ((tmp_path, "is a folder"), (tmp_path / "none" / "report.html", "there is no folder")):
        with pytest.raises(ConfigurationError, match=word):
            require_ready(path)


def test_without_the_library_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ConfigurationError) as caught:
        require_ready(Path("report.html"))
    assert caught.value.next_step == "pip install 'byov-migrate[report]'"


def test_a_page_replaces_the_last_one_whole_and_is_for_its_owner(tmp_path: Path) -> None:
    """It may hold keys; half a page over a good one would be worse than none."""
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o644)
    write_page("new \u2714", path)
    assert (path.read_text(encoding="utf-8"), stat.S_IMODE(path.stat().st_mode)) == ("new \u2714", 0o600)
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(PersonNeeded, match="cannot write"):
        write_page("new", tmp_path / "none" / "report.html")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_difference_is_counted_where_it_belongs(kind: Any) -> None:
    """A kind that verify learns later must not be missing from the table."""
    text = render(made_evidence(Difference(kind, "17", "what")))
    assert f'<data value="1" data-path="tables.0.counts.{kind}">1</data>' in text


def test_what_stands_in_a_carrier_is_what_is_not_empty() -> None:
    """Two counts that both find records prove more than one that finds none."""
    there, empty = Answer({}, ROWS, 0.0), Answer({}, ROWS - 2, 0.0)
    assert Withheld("p", "x", there, empty).filled == 2
    assert Withheld("p", "x", there).filled == ROWS
    assert Withheld("p", "x", None).filled is None
