"""What guards read is filled in fast, kept where it lasts, and never differs from the general way."""

import json
from typing import Any

from google.protobuf import message_factory
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopspec.events import ModelReplied, ProposedCall, SessionStarted, UserMessage, UserResumed
from loopspec.machine.celtypes import Types, event_data
from loopspec.machine.guards import needs, saw
from loopspec.machine.model import Field
from machine.builders import Run, machine

KINDS = ("string", "int", "bool", "number", "json")
TYPES = Types({}, {kind: Field(kind) for kind in KINDS}, {})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def general(name: str, data: dict[str, Any]) -> Any:
    """The message as protobuf's own reading of JSON makes it."""
    found = message_factory.GetMessageClass(TYPES.pool.FindMessageTypeByName(name))
    return TYPES.read(found(), data)


def result(make: Any, name: str, data: dict[str, Any]) -> Any:
    """The bytes of a message, or the complaint."""
    try:
        return make(name, data).SerializeToString(deterministic=True)
    except (ValueError, TypeError, RecursionError) as err:
        return type(err), str(err)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from([*KINDS, "unknown"]), JSON))
@example({"number": float("inf"), "int": 1})
@example({"number": -0.0})
@example({"int": 1 << 63})
@example({"json": 10**400})
@example({"json": {}, "string": ""})
@example({"json": [[], {}, None, -0.0, float("inf")]})
@example({"bool": 1, "int": True})
@example({"string": "\ud800"})
def test_filling_gives_the_bytes_or_the_words_of_the_general_way(data: dict[str, Any]) -> None:
    assert result(TYPES.make, "ls.Vars", data) == result(general, "ls.Vars", data)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(ProposedCall, st.text(max_size=4), JSON.map(lambda v: json.dumps({"a": v})))))
def test_a_reply_is_filled_as_the_general_way_reads_it(calls: list[ProposedCall]) -> None:
    name = TYPES.event_types["model.replied"]
    data = event_data(ModelReplied("s:1:0", "text", calls))
    assert result(TYPES.make, name, data) == result(general, name, data)


def test_an_expression_is_given_what_it_names_and_all_of_an_event_it_hands_around() -> None:
    assert needs("size(event.calls) > 0 && vars.n > 1") == ({"event", "vars"}, {"calls"})
    assert needs("has(event.text) || event.calls.exists(c, c.tool == 'x')")[1] == {"text", "calls"}
    assert needs("event == event") == ({"event"}, None)
    assert needs("[1].exists(event, event > 0)")[1] is None
    assert needs("usage.turns > inputs.most") == ({"usage", "inputs"}, frozenset())


def test_what_a_guard_saw_is_canonical_and_says_how_long_it_was_where_it_is_long() -> None:
    plain = {"event": {"text": "é" * 300, "n": 1e999}, "vars": {"b": {"z": 1, "a": None}}}
    assert saw("vars.b.a == vars.b && event.text != '' && event.n > 1 && vars.no", plain) == (
        '{"event.n":"(no JSON)","event.text":"(302 characters of JSON)",'
        '"vars.b":{"a":null,"z":1},"vars.b.a":null,"vars.no":null}'
    )


def test_a_prompt_is_rendered_again_when_what_it_reads_has_changed_and_only_then() -> None:
    loop = {
        "ready": {
            "kind": "input",
            "on": {"user.message": "ask", "user.resumed": {"do": [("assign", "n", "vars.n + 1")]}},
        },
        "ask": {"kind": "model", "prompt": "system", "on": {"model.replied": "ready"}},
    }
    text = "{{ inputs.a }} {{ vars.n }} {{ session.id }}"
    one = machine(loop, prompts={"system": text}, vars={"n": ("int", "0")})
    two = machine(loop, prompts={"system": text + " {{ usage.turns }}"}, vars={"n": ("int", "0")})
    for made, said in ((one, ["x 0 s", "x 0 s", "x 1 s"]), (two, ["x 0 s 0", "x 0 s 1", "x 1 s 2"])):
        run = Run(made)
        run.snapshot = type(run.snapshot)(session="s", machine="")
        run.tell(SessionStarted(made.digest, '{"a":"x"}'))
        got = []
        for turn in range(3):
            if turn == 2:
                run.tell(UserResumed())
            got += [data.decode() for data in run.tell(UserMessage("go")).blobs.values()]
            run.reply(text="done")
        assert got == said
