"""A session as a page: what is drawn is what was journaled, and nothing else gets in or out."""

import base64
import hashlib
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from coding_loop import SECOND, START, Run, coding
from hypothesis import given, settings
from hypothesis import strategies as st
from test_views_timeline import story

from loopspec.effects import RunTool
from loopspec.events import HostWoke, UserMessage
from loopspec.journal.entry import Entry
from loopspec.views.timeline_chart import ROWS, Mark, Row, Span, Used, chart
from loopspec.views.timeline_html import FIRST, NEWEST, page
from loopspec.views.timeline_scale import FOLD, Scale
from loopspec.views.timeline_svg import PLOT, drawn, escape

GOLDEN = Path(__file__).parent / "golden" / "timeline.html"
VOID = {"meta", "input", "br"}


class Checked(HTMLParser):
    """A page read by a strict reader: tags balance; what it would fetch or run is noted."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.styles = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "style", "srcset", "action"), (tag, name)
            if name == "href":
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        assert tag not in ("iframe", "object", "embed", "link", "base", "img", "form"), tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.texts.append(data)


def of(run: Run, *, full: bool = False) -> str:
    return page(run.machine, run.snapshot, run.entries, full=full)


def long(run: Run, times: int) -> list[Entry]:
    """The entries of a session again and again, as if it had gone on for long."""
    step = run.entries[-1].at - run.entries[0].at + SECOND
    made: list[Entry] = []
    for n in range(times):
        for entry in run.entries[1:] if n else run.entries:
            more = {"seq": len(made), "at": entry.at + n * step, "awake": entry.awake + n * step}
            made.append(msgspec.structs.replace(entry, **more))
    return made


# ------------------------------------------------------------ the chart


def test_the_chart_of_a_small_session_is_this() -> None:
    run = Run(coding())
    run.say()
    run.reply("shell")
    run.decide(c2_0="ask")
    at = [START + n * 10 * SECOND for n in range(4)]
    model = "main (anthropic/claude-sonnet-4-5): 10 s"
    made = chart(run.machine, run.entries)
    assert made.states == (
        Row("ready", (Span(at[0], at[1], "person", "ready: 10 s", 1),)),
        Row("streaming", (Span(at[1], at[2], "model", "working.streaming: 10 s", 2),)),
        Row("deciding", (Span(at[2], at[3], "decision", "working.deciding: 10 s", 3),)),
        Row(
            "awaiting_approval",
            (
                Span(
                    *(at[3], at[3], "person", "working.awaiting_approval: 0 ms, still there", 3, True),
                ),
            ),
        ),
    )
    assert made.models == (Row("main", (Span(at[1], at[2], "model", model, 2),)),)
    assert made.tools == ()
    asked = "approval of a tool (call c2_0): 0 ms, not answered yet"
    told = asked.replace("a tool", "shell")
    assert made.waits == (Row("approval", (Span(at[3], at[3], "person", told, 3, True),)),)
    assert made.marks == (Mark(at[1], "person", "user.message by person", 1),)
    assert made.used == (Used(at[2], 1_200, 80, 12_345_678, 0),)
    assert (made.start, made.end, made.moments) == (at[0], at[3], tuple(at))


def test_a_call_is_as_long_as_its_tool_said_and_a_failed_attempt_is_marked() -> None:
    made = chart(story().machine, story().entries)
    (shell,) = [row for row in made.tools if row.name == "shell"]
    done = shell.spans[0]
    assert (done.end - done.start, done.look) == (3_200_000, "tools")
    assert done.title == "shell (call c4_0): 3 s"
    looks = [span.look for span in made.models[0].spans]
    assert looks[0] == "bad" and "model" in looks
    names = {row.name for row in made.waits}
    assert names == {"approval", "rollback", "compaction"}


def test_time_that_nobody_was_awake_is_shown() -> None:
    run = Run(coding())
    run.do(HostWoke(gap=7_200 * SECOND))
    slept = msgspec.structs.replace(run.entries[1], at=run.entries[1].at + 7_200 * SECOND)
    made = chart(run.machine, [run.entries[0], slept])
    (row,) = made.waits
    assert (row.name, [(s.end - s.start, s.look, s.title) for s in row.spans]) == (
        "away",
        [(7_200 * SECOND, "away", "asleep, or nobody ran it: 2 h")],
    )


def test_a_clock_that_goes_back_draws_nothing_backwards() -> None:
    run = story()
    entries = [msgspec.structs.replace(e, at=e.at - 10**9 * (e.seq % 3)) for e in run.entries]
    made = chart(run.machine, entries)
    assert list(made.moments) == sorted(set(made.moments))
    rows = (*made.states, *made.models, *made.tools, *made.waits)
    assert all(made.start <= s.start <= s.end <= made.end for row in rows for s in row.spans)


def test_rows_beyond_the_most_share_one() -> None:
    run = Run(coding())
    many = ROWS + 3
    tools = [RunTool(f"e{n}", "working", f"c{n}", f"tool_{n}", "", 0, n) for n in range(many)]
    made = chart(run.machine, [msgspec.structs.replace(run.entries[0], effects=tuple(tools))])
    assert [row.name for row in made.tools] == [*(f"tool_{n}" for n in range(ROWS)), "others"]
    assert [len(row.spans) for row in made.tools] == [*[1] * ROWS, many - ROWS]


# ------------------------------------------------------------ the scale


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=60, unique=True), st.integers(0, 10**13))
def test_a_later_moment_never_stands_left_of_an_earlier_one(moments: list[int], other: int) -> None:
    moments.sort()
    scale = Scale(moments, PLOT)
    places = [scale.x(at) for at in sorted([*moments, other])]
    assert places == sorted(places)
    assert places[0] >= 0 and places[-1] <= PLOT
    assert len(moments) < 2 or (scale.x(moments[0]), scale.x(moments[-1])) == (0, PLOT)
    ticks = scale.ticks(9)
    assert all(moments[0] <= at <= moments[-1] for at in ticks)
    assert not any(a < at < b for at in ticks for a, b in scale.folds)


def test_a_night_of_waiting_leaves_room_for_the_work() -> None:
    work = [n * SECOND for n in range(40)]
    night = [work[-1] + 9 * 3600 * SECOND + n * SECOND for n in range(40)]
    scale = Scale([*work, *night], PLOT)
    assert scale.folds == [(work[-1], night[0])]
    assert scale.x(night[0]) - scale.x(work[-1]) <= PLOT * FOLD // (78 + FOLD) + 1
    assert scale.x(work[-1]) > PLOT // 3


# ------------------------------------------------------------ the page


def test_the_page_is_the_golden_one() -> None:
    text = of(story(), full=True)
    if os.environ.get("LOOPSPEC_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_page_fetches_nothing_and_runs_only_its_own_script() -> None:
    text = of(story(), full=True)
    read = Checked(text)
    assert all(link.startswith("#e") and link[1:] in read.ids for link in read.links) and read.links
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    for tag in ("style", "script"):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{hashed}'" in policy[1]
        assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp|import\(|eval", inner)
    assert policy[1].startswith("default-src 'none'; ") and "unsafe" not in policy[1]
    outside = re.sub(r'xmlns="http://www.w3.org/2000/svg"', "", text)
    shell = re.sub(r"<(q|td|pre|p)\b.*?</\1>", "", outside, flags=re.DOTALL)
    assert not re.search(r"(https?:)?//\w", shell)


def test_the_picture_needs_no_script_and_is_well_formed() -> None:
    run = story()
    made = drawn(chart(run.machine, run.entries), range(3), "A <title>", "It says & tells")
    root = ElementTree.fromstring(made)
    spoken = [child.text for child in root[:2]]
    assert spoken == ["A <title>", "It says & tells"]
    links = {one.get("href") for one in root.iter("{http://www.w3.org/2000/svg}a")}
    assert links and links <= {"#e0", "#e1", "#e2"}


def test_bars_that_touch_stay_apart_and_narrow_ones_are_one_that_says_so() -> None:
    run = story()
    made = drawn(chart(run.machine, run.entries), (), "", "")
    model = "main (anthropic/claude-sonnet-4-5): 10 s"
    assert f"<title>{model}, overloaded</title>" in made
    assert f"<title>{model}</title>" in made
    many = drawn(chart(run.machine, long(run, 900)), (), "", "")
    assert re.search(r"; and \d+ more</title>", many)


HOSTILE = st.text(max_size=40) | st.sampled_from(
    (
        *('</script><script>x("1")</script>', "<img src=x onerror=y>", "' onload='", "&lt;", "]]>"),
        *("\x1b[2J", "\u202e", "\x00", "a\r\nb"),
    )
)


@settings(max_examples=25, deadline=None)
@given(HOSTILE, HOSTILE)
def test_no_text_becomes_markup(said: str, answered: str) -> None:
    run = Run(coding())
    run.do(UserMessage(text=said), by=answered or "person")
    run.reply("shell", text=answered)
    text = of(run, full=True)
    read = Checked(text)
    assert read.ids == ["filter", "count", "entries", *(f"e{n}" for n in range(len(run.entries)))]
    assert not set("\x1b\u202e\x00") & set(text)
    assert text.count("<script>") == 1 and text.count("<svg") == text.count("</svg>")
    assert "\r" not in escape(text)


def test_whole_texts_are_there_only_when_asked_for() -> None:
    run = Run(coding())
    text = "First line.\n" + "word " * 100 + "LAST-WORD"
    run.say(text)
    assert "LAST-WORD" not in of(run)
    assert "LAST-WORD" in of(run, full=True)


def test_a_long_session_has_a_bounded_page_that_says_what_it_left_out() -> None:
    run = story()
    entries = long(run, (FIRST + NEWEST) // (len(run.entries) - 1) + 40)
    text = page(run.machine, run.snapshot, entries)
    read = Checked(text)
    rows = [key for key in read.ids if re.fullmatch(r"e\d+", key)]
    left = len(entries) - FIRST - NEWEST
    assert len(rows) == FIRST + NEWEST and left > 100
    assert f"{left:,} entries left out here" in read.texts
    assert all(link[1:] in read.ids for link in read.links)
    picture = text[text.index("<svg") : text.index("</div>", text.index("<svg"))]
    short = of(run)
    assert len(picture) < 40 * len(short), "the picture does not grow with the session"
    assert picture.count("<rect") < 12 * PLOT
    few = Checked(page(run.machine, run.snapshot, entries, last=5))
    assert few.ids[3:] == [f"e{len(entries) - 5 + n}" for n in range(5)]


@pytest.mark.parametrize("count", [0, 1])
def test_a_session_of_almost_nothing_has_a_page(count: int) -> None:
    run = Run(coding())
    read = Checked(page(run.machine, run.snapshot, run.entries[:count]))
    assert len([key for key in read.ids if re.fullmatch(r"e\d+", key)]) == count
