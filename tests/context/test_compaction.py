"""A plan keeps what it promises, whatever the view holds."""

from compaction_kit import (
    LISTING,
    LONG,
    PINS,
    after,
    note,
    own,
    planned,
    reply,
    result,
    summary,
    user,
    views,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from loopspec.context.compaction import (
    HEADER,
    Limits,
    Plan,
    Stuck,
    faults,
    plan,
    size_of,
    standing,
    view_after,
    with_text,
)
from loopspec.context.transcript import Item, masks_of, original, provider_messages
from loopspec.events import Mask
from loopspec.tokens import estimate

LOOKED = (
    user(0, "go"),
    reply(1, "look", "c1"),
    result(2, "c1", LISTING),
    user(3, "on"),
    reply(4, "ok"),
)
SETS = st.lists(st.sampled_from(PINS), unique=True).map(tuple)


def test_a_large_output_is_shown_shorter_before_anything_leaves() -> None:
    items = (
        user(0, "go"),
        reply(1, "look", "c1"),
        result(2, "c1", LISTING),
        user(3, "on"),
        reply(4, "ok"),
    )
    made = planned(plan(items, sum(map(size_of, items)) * 6 // 10))
    assert (made.replaces, made.summary, made.rung) == ((), "", "mask")
    assert [mask.item for mask in made.masks] == ["2.0"]
    left = after(items, made)
    assert [item.id for item in left] == [item.id for item in items]
    assert [item.masked for item in left] == [False, False, True, False, False]
    assert made.after == sum(map(size_of, left))
    assert left[2].text.splitlines()[0] == "0: value_0 = call(0)"
    assert left[2].text.endswith(f"[shortened from {items[2].tokens} tokens; 2.0 is the whole]")


def test_what_leaves_is_told_by_handle_with_what_later_work_took_up() -> None:
    rows = "\n".join(f"row {n} of port_{n} at 10.0.0.{n % 250}" for n in range(400))
    items = (
        user(0, "Find the port."),
        reply(1, "I read it.", "c1", args='{"path": "/etc/ports.conf"}', tool="fs.read"),
        result(2, "c1", rows, tool="fs.read"),
        reply(3, "It is port_317, I try port_317 first."),
        user(4, "Good."),
        reply(5, "", "c5"),
        result(6, "c5", "ok"),
    )
    made = planned(plan(items, 130, level=3))
    assert made.rung == "summarise"
    assert made.replaces == ("1.0", "2.0", "3.0")
    lines = made.summary.splitlines()
    assert lines[0] == HEADER
    assert lines[1].startswith("- 2.0 fs.read: /etc/ports.conf") and lines[2].startswith(
        "- 3.0 assistant"
    )
    assert "port_317" in lines[2]


def test_the_mildest_rung_that_reaches_the_target_is_taken() -> None:
    items = (
        user(0, "go"),
        *(
            item
            for n in range(1, 40, 3)
            for item in (reply(n, f"step {n} " * 9, f"c{n}"), result(n + 1, f"c{n}", f"{n} {LISTING}"))
        ),
        user(50, "on"),
        reply(51, "well"),
    )
    total = sum(map(size_of, items))
    rungs = [planned(plan(items, total * share // 1000)).rung for share in (600, 200, 30, 1)]
    assert rungs == ["mask", "offload", "drop", "pins"]


def test_the_scorer_keeps_what_later_work_refers_to_and_lets_the_rest_go() -> None:
    quiet = "The weather is fine and nothing else is worth a word. " * 8
    items = (
        user(0, "go"),
        reply(1, f"It is in src/core/engine.py at load_table. {quiet}"),
        *(reply(n, f"Nothing new here. {quiet}") for n in range(2, 8)),
        reply(8, "src/core/engine.py has load_table, so I change load_table."),
        user(9, "on"),
        reply(10, "src/core/engine.py it is"),
    )
    scores = {unit.handles[0]: unit.score for unit in standing(items)}
    assert scores["1.0"] > max(scores[f"{n}.0"] for n in range(2, 7))
    made = planned(plan(items, sum(map(size_of, items)) // 3, Limits(summary_share=100_000)))
    assert "1.0" not in made.replaces or "8.0" not in made.replaces
    assert {"2.0", "3.0", "4.0"} <= set(made.replaces)


def test_why_has_every_unit_with_its_score_and_its_fate() -> None:
    items = (user(0, "go"), reply(1, LONG, "c1"), result(2, "c1", LISTING), user(3, "on"), reply(4, "ok"))
    made = planned(plan(items, 60))
    assert [(u.handles, u.pinned, u.fate) for u in made.why] == [
        (("0.0",), True, "stays"),
        (("1.0", "2.0"), False, "leaves"),
        (("3.0",), True, "stays"),
        (("4.0",), True, "stays"),
    ]
    assert all(0 <= unit.score <= 1_000_000 and unit.reasons for unit in made.why)
    assert [(u.handles, u.score, u.reasons) for u in standing(items)] == [
        (u.handles, u.score, u.reasons) for u in made.why
    ]


def test_sizes_are_told_as_the_provider_counts() -> None:
    items = (user(0, "go"), *(reply(n, LONG) for n in range(1, 9)), user(9, "on"))
    one, two = planned(plan(items, 1_000)), planned(plan(items, 2_000, scale=2_000_000))
    assert (two.before, two.after) == (one.before * 2, one.after * 2)
    assert (two.replaces, two.summary) == (one.replaces, one.summary)


def test_masks_in_force_stay_in_force_and_are_listed() -> None:
    items = (
        user(0, "go"),
        reply(1, "", "c1"),
        result(2, "c1", LISTING),
        *(reply(n, LONG) for n in range(3, 9)),
    )
    old = Mask(item="2.0", text="short\n[shortened from 3000 tokens; 2.0 is the whole]")
    made = planned(plan(items, sum(map(size_of, items)) // 2, older_masks=(old, Mask("77.0", "gone"))))
    left = after(items, made)
    assert "2.0" in made.replaces or old in made.masks
    assert made.masks == masks_of(left)


def test_a_view_that_already_fits_is_still_made_smaller() -> None:
    """The estimate may be wrong: the provider or the driver asked, so something must leave."""
    items = (user(0, "go"), *(reply(n, LONG) for n in range(1, 9)))
    made = planned(plan(items, 1_000_000))
    assert made.after <= made.before // 2


def test_stuck_says_the_numbers() -> None:
    assert plan((), 5) == Stuck("the view is empty")
    items = (user(0, LONG), reply(1, "ok"))
    total = sum(i.tokens for i in items)
    reason = f"all of the {total} tokens in view are pinned or newest; nothing may leave"
    assert plan(items, 5) == Stuck(reason)
    small = (user(0, "go"), reply(1, "a"), user(2, "b"))
    assert plan(small, 5) == Stuck(
        f"what may leave ({estimate('a')} of {3 * estimate('a')} tokens) is no larger than"
        " a note about it"
    )


# ---- pins: F14 ---------------------------------------------------------------------------------------


def test_f14_task_constraints_last_request_open_plan_and_refusals_stay_byte_for_byte() -> None:
    items = (
        user(0, "Port the parser.\n\n  Keep  both   spaces. \t"),
        note(1, "Never push."),
        reply(2, LONG),
        reply(3, "- [x] read\n- [ ] write the test"),
        reply(4, "", "c4"),
        result(5, "c4", "A person refused this call.", "denied_by_person"),
        reply(6, "", "c6"),
        result(7, "c6", "Not allowed by the rule `a`.", "denied_by_policy"),
        reply(8, LONG, "c8"),
        result(9, "c8", LISTING),
        user(10, "Now the writer.\r\n"),
        *(reply(n, LONG) for n in range(11, 20)),
        reply(20, "ok"),
    )
    for target in (4_000, 1_500, 900, 100, 1):
        made = planned(plan(items, target))
        left = after(items, made)
        kept = ("0.0", "1.0", "3.0", "4.0", "5.0", "6.0", "7.0", "10.0", "20.0")
        assert [i for i in left if i.id in kept] == [i for i in items if i.id in kept]
    everything = planned(plan(items, 1)).replaces
    assert everything == ("2.0", "8.0", "9.0", *(f"{n}.0" for n in range(11, 20)))


def test_f14_the_singular_names_of_pins_are_the_same_pins() -> None:
    items = (user(0, "go"), note(1, "Never push."), *(reply(n, LONG) for n in range(2, 9)))
    assert "1.0" in planned(plan(items, 50, Limits(pin=("task",)))).replaces
    assert "1.0" not in planned(plan(items, 50, Limits(pin=("constraint",)))).replaces


def test_f14_a_plan_that_is_done_is_no_longer_pinned() -> None:
    items = (
        user(0, "go"),
        reply(1, "- [ ] one"),
        reply(2, LONG),
        reply(3, "- [x] one"),
        reply(4, LONG),
        reply(5, "ok"),
    )
    assert {"1.0", "3.0"} <= set(planned(plan(items, 50)).replaces)


def test_f14_the_same_note_said_again_and_again_is_pinned_once() -> None:
    items = (user(0, "go"), *(note(n, "Remember: tests first.") for n in range(1, 60)), reply(60, "ok"))
    left = after(items, planned(plan(items, 100)))
    assert [item.id for item in left if item.role == "note"] == ["59.0"]


def test_f14_a_constraint_of_a_person_that_leaves_is_quoted_whole() -> None:
    said = "Hello there. You must never delete the table `orders_2019`. The rest is up to you."
    items = (
        user(0, "go"),
        user(1, said),
        *(reply(n, LONG) for n in range(2, 9)),
        user(9, "on"),
        reply(10, "ok"),
    )
    made = planned(plan(items, 200, Limits(keep_newest=1), level=3))
    assert "1.0" in made.replaces
    assert "- 1.0 user: You must never delete the table `orders_2019`." in made.summary


def test_what_a_person_ran_is_neither_the_task_nor_their_last_word() -> None:
    big = "output " * 400
    said = (user(2, "the task"), user(4, "the last word"))
    items = (own(1, big), said[0], own(3, big), said[1], own(5, big), note(6, "x"))
    assert set(planned(plan(items, 60)).replaces) == {"1.0", "3.0", "5.0"}


# ---- pairs: F13 --------------------------------------------------------------------------------------


def test_f13_a_result_that_arrived_after_a_message_leaves_with_its_call() -> None:
    items = (
        user(0, "go"),
        reply(1, LONG, "c1"),
        user(2, "wait"),
        result(3, "c1", LONG),
        user(4, "more"),
        reply(5, "ok"),
    )
    assert planned(plan(items, 60, level=3)).replaces == ("1.0", "2.0", "3.0")


def test_f13_a_reply_that_waits_for_a_result_stays_whatever_is_pinned() -> None:
    items = (
        user(0, "go"),
        note(1, LONG),
        reply(2, LONG, "c2"),
        result(3, "c2", "no", "denied_by_person"),
        reply(4, "", "c4"),
        user(5, "more"),
    )
    assert planned(plan(items, 50, Limits(pin=()))).replaces == ("0.0", "1.0", "2.0", "3.0")


@settings(max_examples=150, deadline=None)
@given(views(), st.integers(1, 4000), SETS, st.integers(0, 5))
def test_f13_what_a_provider_gets_stays_paired(
    items: tuple[Item, ...], target: int, pins: tuple[str, ...], level: int
) -> None:
    made = plan(items, target, Limits(pin=pins), level)
    left = after(items, made) if isinstance(made, Plan) else items
    waiting: list[str] = []
    for message in provider_messages(left, "You repair software."):
        if message["role"] == "tool":
            assert waiting.pop(0) == message["tool_call_id"]
        else:
            assert waiting == []
            waiting = [c["id"] for c in message.get("tool_calls", ())]
            assert message["role"] in ("system", "user", "assistant")
            assert message["content"] or message.get("tool_calls")
    assert waiting == []


# ---- sizes: F12 --------------------------------------------------------------------------------------


def test_f12_one_output_larger_than_the_window_is_shown_shorter_where_it_stands() -> None:
    items = (user(0, "go"), reply(1, "", "c1"), result(2, "c1", LISTING * 40))
    made = planned(plan(items, 1_000))
    assert (made.replaces, [mask.item for mask in made.masks]) == ((), ["2.0"])
    assert made.after <= 1_000


def test_f12_a_summary_never_grows_for_ever() -> None:
    items: tuple[Item, ...] = (user(0, "the task"),)
    for n in range(1, 120):
        new = (
            reply(n * 10, f"I read file_{n}.py", f"c{n}"),
            result(n * 10 + 1, f"c{n}", f"{n}\n{LISTING}"),
        )
        items = (*items, *new)
        if sum(map(size_of, items)) > 12_000:
            items = after(items, planned(plan(items, 2_000)), n * 10 + 5)
            assert sum(map(size_of, items)) <= 2_000
    assert items[0] == user(0, "the task")
    assert sum(item.role == "summary" for item in items) <= 1


def test_f12_what_a_summary_carries_outlives_an_output_that_fills_the_window() -> None:
    told = summary(1, f"{HEADER}\n- 0.5 fs.read: /srv/keys.pem\nThe port is 7741.")
    items = (user(0, "go"), told, *(reply(n, LONG) for n in range(2, 9)), reply(9, LONG * 9))
    made = planned(plan(items, 900))
    assert (made.rung, made.after > 900) == ("pins", True)
    assert "The port is 7741." in made.summary and "- 0.5 fs.read: /srv/keys.pem" in made.summary


@settings(max_examples=60, deadline=None)
@given(views(), st.integers(1, 2000), SETS)
def test_f12_compacting_again_and_again_comes_to_rest(
    items: tuple[Item, ...], target: int, pins: tuple[str, ...]
) -> None:
    sizes = [sum(map(size_of, items))]
    for level in range(60):
        made = plan(items, max(1, target >> level), Limits(pin=pins), level)
        if isinstance(made, Stuck):
            return
        items = after(items, made, 1000 + level)
        assert items
        sizes.append(sum(map(size_of, items)))
        assert sizes[-1] < sizes[-2]
    raise AssertionError(f"still not stuck: {sizes}")


# ---- all of it, for any view -------------------------------------------------------------------------


def must_stay(items: tuple[Item, ...], pins: tuple[str, ...]) -> set[str]:
    """The ids that no plan may drop or change, told independently of the planner."""
    answered = {i.call for i in items if i.role == "result"}
    said = [i for i in items if i.role in ("user", "note") and not i.call]
    stay = {i.id for i in [i for i in said if i.role == "user"][-1:]}
    stay |= {i.id for i in items if any(c.id not in answered for c in i.calls)}
    if "task" in pins:
        stay |= {i.id for i in said[:1]}
    if "constraints" in pins:
        stay |= {
            {i.text: i.id for i in items if i.role == "note"}[i.text] for i in items if i.role == "note"
        }
    return stay


@settings(max_examples=200, deadline=None)
@given(views(), st.integers(0, 4000), SETS, st.integers(0, 9), st.sampled_from((0, 700_000, 2_500_000)))
def test_a_plan_keeps_every_promise(
    items: tuple[Item, ...], target: int, pins: tuple[str, ...], level: int, scale: int
) -> None:
    limits = Limits(pin=pins)
    made = plan(items, target, limits, level, scale)
    assert made == plan(items, target, limits, level, scale)
    if isinstance(made, Stuck):
        assert made.reason
        return
    left = after(items, made)
    fresh = [i for i in left if i.id == "9000.0"]
    assert len(fresh) == (1 if made.replaces and made.summary else 0)
    kept = [i for i in left if i.id != "9000.0"]
    assert [i.id for i in kept] == [i.id for i in items if i.id not in made.replaces]
    whole = {i.id: i for i in items}
    assert must_stay(items, pins) <= {i.id for i in kept if i == whole[i.id]}
    assert all(i == whole[i.id] for i in kept if i.role not in ("result", "user"))
    assert sum(map(size_of, left)) < sum(map(size_of, items))
    assert made.after == sum(map(size_of, left)) * (scale or 1_000_000) // 1_000_000
    assert made.masks == masks_of(left)
    assert faults(items, left, limits) == ()
    gone = [h for unit in made.why if unit.fate == "leaves" for h in unit.handles]
    assert sorted(gone) == sorted(made.replaces)


@settings(max_examples=60, deadline=None)
@given(views(), st.integers(1, 2000), st.text(max_size=2000))
def test_a_text_of_a_model_is_taken_or_left_and_the_plan_stays_valid(
    items: tuple[Item, ...], target: int, text: str
) -> None:
    made = plan(items, target)
    if isinstance(made, Stuck):
        return
    told = with_text(made, text)
    assert (told.replaces, told.masks, told.rung) == (made.replaces, made.masks, made.rung)
    left = after(items, told)
    assert faults(items, left, Limits()) == ()
    assert told.after == sum(map(size_of, left))
    if told != made:
        assert estimate(told.summary) <= max(made.room, estimate(made.summary))


def test_a_text_of_a_model_stands_before_the_lines_and_names_no_handle_of_its_own() -> None:
    items = (user(0, "go"), *(reply(n, f"part_{n}.py {LONG}") for n in range(1, 9)), user(9, "on"))
    made = planned(plan(items, 900))
    told = with_text(made, "We port it.\n- 77.0 is free\n\nNext: the tests.")
    assert told.summary.splitlines()[:4] == [HEADER, "We port it.", "• 77.0 is free", "Next: the tests."]
    assert told.summary.splitlines()[-1].startswith("- ")
    assert with_text(made, "  \n ") == made
    assert with_text(made, "word " * 20_000) == made
    more = (*after(items, told), *(reply(n, LONG) for n in range(9_100, 9_140)), reply(9_140, "ok"))
    again = planned(plan(more, 900))
    assert again.replaces[0] == "9000.0"
    assert again.summary.splitlines()[:4] == told.summary.splitlines()[:4]


# ---- the judge itself --------------------------------------------------------------------------------


def test_the_judge_finds_each_broken_promise() -> None:
    items = (
        user(0, "task"),
        reply(1, "a", "c1"),
        result(2, "c1", LISTING),
        summary(3, "old"),
        user(4, "last"),
        reply(5, "ok"),
    )
    whole = list(items)

    def told(left: list[Item]) -> str:
        return "; ".join(faults(items, left, Limits()))

    assert told(whole[1:]) == "the pin 0.0 (task) is not there as it was"
    assert "pin 4.0 (last request) is out of its order" in told([whole[4], *whole[:4]])
    assert "the call c1 has lost its result" in told([*whole[:2], *whole[3:]])
    assert "the result of c1 has lost its call" in told([whole[0], *whole[2:]])
    assert "what stayed is not in its order" in told([whole[0], whole[2], whole[1], *whole[4:]])
    assert "something came in that is no summary" in told([*whole[:3], user(9, "new"), *whole[4:]])
    assert "1.0 has another text and is no output of a tool" in told(
        list(view_after(items, ("3.0",), {"1.0": "b"}, ""))
    )
    assert "the mask of 2.0 is no smaller" in told(list(view_after(items, (), {"2.0": LISTING * 2}, "")))
    assert (
        told(list(view_after(items, (), {"2.0": "x"}, ""))) == "the mask of 2.0 does not name its handle"
    )
    assert told(list(view_after(items, ("3.0", "1.0", "2.0"), {}, "- 66.0 x"))) == (
        "the summary names 66.0, which is not to be had"
    )
    size = sum(map(size_of, items))
    assert told(whole) == f"the view would have {size} tokens instead of {size}"


def test_the_whole_of_what_is_masked_is_had_by_the_handle_the_mask_names() -> None:
    items = (
        user(0, "go"),
        reply(1, "look", "c1"),
        result(2, "c1", LISTING),
        user(3, "on"),
        reply(4, "ok"),
    )
    (mask,) = planned(plan(items, 900)).masks
    found = {item.id: item for item in items}[mask.item]
    assert f"{mask.item} is the whole" in mask.text.rsplit("\n", 1)[-1]
    assert original(found) == LISTING
