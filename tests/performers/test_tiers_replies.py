"""What the tier of rules answers, and which faults are stamped on a reply."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from models.model_helpers import ask, parts

from loopspec.codec import canonical_json
from loopspec.events import ModelReplied, ProposedCall
from loopspec.hooks import Piece, ProviderFailed
from loopspec.machine.model import ModelDecl, Tier
from loopspec.performers.model_errors import classify
from loopspec.performers.reply_faults import Certainty, faults_of
from loopspec.performers.rules_provider import NoMatch, answer

PATH = "{{ groups['1'] }}"
RULES: list[dict[str, Any]] = [
    {"match": "(?i)^ping (?P<who>\\w+)", "reply": "pong {{ groups.who }}", "confidence": 900_000},
    {
        "match": "read (\\S+)",
        "call": {"tool": "read_file", "args": {"path": PATH, "many": [1, PATH]}},
        "reply": "It says: {{ result }}",
    },
    {"match": "^look", "call": {"tool": "list_files"}},
    {"match": "^bad", "reply": "{{ groups.nobody }}"},
]
STOP = Piece(finish="stop")


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


CALLED: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [{}]}
RESULT = {"role": "tool", "content": "seven"}


def test_the_first_rule_that_matches_the_last_message_of_a_person_answers() -> None:
    said = [user("read x"), {"role": "assistant", "content": "a"}, user("PING you")]
    assert answer(RULES, said) == (Piece(text="pong you", confidence=900_000), STOP)


def test_a_rule_proposes_its_call_and_says_what_came_of_it() -> None:
    args = canonical_json({"path": "a.txt", "many": [1, "a.txt"]})
    call = (Piece(call=(0, "read_file", args)), Piece(finish="tool_calls"))
    assert answer(RULES, [user("please read a.txt")]) == call
    assert answer(RULES, [user("read a.txt"), CALLED, RESULT]) == (Piece(text="It says: seven"), STOP)


@pytest.mark.parametrize(
    "messages",
    [
        [user("something else")],
        [user("look"), CALLED, RESULT],  # the rule has nothing to say about the result
        [user("ping you"), CALLED, RESULT],  # a call that is not this rule's
        [user("read x"), CALLED, RESULT, CALLED, RESULT],  # somebody else has gone on
        [user("read x"), {"role": "assistant", "content": "done"}],
        [],
        [{"role": "system", "content": "ping you"}],
        [user("ping you" + " " * 5_000)],
    ],
)
def test_what_no_rule_answers_is_no_match(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(NoMatch) as caught:
        answer(RULES, messages)
    fault = classify(caught.value)
    assert (fault.reason, fault.retryable) == ("no_match", False)  # type: ignore[union-attr]


def test_a_text_that_cannot_be_rendered_is_a_fault_that_names_its_rule() -> None:
    with pytest.raises(ProviderFailed, match=r"rule 4: .*nobody"):
        answer(RULES, [user("bad")])


SCHEMA = canonical_json(
    {
        "type": "object",
        "required": ["total"],
        "properties": {"total": {"type": "integer"}, "name": {"type": "string", "pattern": "^(a+)+$"}},
    }
)
DECL = ModelDecl(
    "main", "", tiers=(Tier("a", "x/y"),), reply_schema=SCHEMA, confidence=600_000
)


def faults(decl: ModelDecl = DECL, **changes: Any) -> tuple[str, ...]:
    plain: dict[str, Any] = {"text": '{"total": 1}', "calls": [], "finish": "stop", "refusal": ""}
    return faults_of(decl, **{**plain, "offered": {"read"}, **changes})


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ()),
        ({"text": '```json\n{"total": 1}\n```'}, ()),
        ({"text": "no json"}, ("schema",)),
        ({"text": '{"total": "1"}'}, ("schema",)),
        ({"text": '{"total": 1, "name": "aaa"}'}, ()),
        ({"text": '{"total": 1, "name": "' + "a" * 2_000 + 'b"}'}, ("schema",)),
        ({"text": "[" * 100_000}, ("schema",)),
        ({"text": '{"total": 1}' + " " * 200_000}, ("schema",)),
        ({"text": "", "calls": [ProposedCall("read")]}, ()),
        ({"calls": [ProposedCall("read"), ProposedCall("write")]}, ("tool_need",)),
        ({"finish": "content_filter"}, ("refusal",)),
        ({"refusal": "I will not"}, ("refusal",)),
        ({"confidence": 599_999}, ("low_confidence",)),
        ({"confidence": 600_000}, ()),
        ({"confidence": -1}, ()),
    ],
)
def test_each_fault_of_a_reply_is_stamped(changes: dict[str, Any], found: tuple[str, ...]) -> None:
    assert faults(**changes) == found


def test_a_model_without_tiers_has_no_faults() -> None:
    assert faults(ModelDecl("main", "x/y"), text="no", finish="content_filter") == ()


def test_a_schema_that_refers_elsewhere_is_never_fetched() -> None:
    far = ModelDecl("m", "", tiers=DECL.tiers, reply_schema='{"$ref": "http://127.0.0.1:9/x"}')
    assert faults(far) == ("schema",)


def test_confidence_is_the_geometric_mean_of_the_tokens() -> None:
    sure = Certainty()
    assert sure.ppm == -1
    tokens = [{"logprob": math.log(0.9)}, {"logprob": math.log(0.4)}, {"logprob": "odd"}, {}]
    sure.add(SimpleNamespace(logprobs={"content": tokens[:1]}))
    sure.add(SimpleNamespace(logprobs=SimpleNamespace(content=tokens[1:])))
    sure.add(SimpleNamespace(logprobs=None))
    assert sure.ppm == 600_000


def test_a_providers_own_word_goes_before_its_tokens() -> None:
    sure = Certainty()
    sure.add(SimpleNamespace(logprobs={"content": [{"logprob": 0.0}]}, confidence=250_000))
    sure.add(SimpleNamespace(confidence=-1))
    assert sure.ppm == 250_000


LOGPROBS = [
    '{"choices":[{"index":0,"delta":{"content":"{\\"total\\""},"logprobs":{"content":[{"logprob":-1.0}]}}]}',
    '{"choices":[{"index":0,"delta":{"content":": 1}"},"logprobs":{"content":[{"logprob":-3.0}]}}]}',
    '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
    "[DONE]",
]


@pytest.mark.parametrize("use", ["local/small", "openai/small"])
def test_the_tokens_of_a_stream_tell_its_confidence(tmp_path: Path, use: str) -> None:
    bodies = [f"data: {line}\n\n".encode() for line in LOGPROBS]
    tiers = (Tier("only", use),)
    made, _, _ = ask(parts(*bodies), tmp_path, use, tiers=tiers, confidence=600_000)
    assert isinstance(made, ModelReplied)
    assert (made.text, made.confidence) == ('{"total": 1}', round(math.exp(-2) * 1_000_000))
    assert made.faults == ("low_confidence",)
