"""No secret of the environment is left in a text, in none of its forms."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loopspec.governance.redact import Redactor

SECRET = 'p+ss/w "ö\\rd'


def redactor(**environ: str) -> Redactor:
    return Redactor.from_environment(environ)


@pytest.mark.parametrize(
    "name",
    [
        "KEY",
        "OPENAI_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "APIKEY",
        "KEY2",
        "SSH_KEYS",
        "GITHUB_TOKEN",
        "githubToken",
        "ci-token",
        "CLIENT_SECRET_V2",
        "PGPASSWORD",
        "DB_PASSWD",
        "MY_CREDENTIALS",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert redactor(**{name: "hunter2hunter2"}).holds("x hunter2hunter2 x")


@pytest.mark.parametrize(
    "name",
    [
        "KEYBOARD",
        "MONKEY",
        "TURKEY_LAYOUT",
        "TOKENIZER",
        "SECRETARY",
        "HOME",
        "GPG_KEY",
        "GIT_CONFIG_KEY_0",
        "TOKENIZERS_PARALLELISM",
    ],
)
def test_names_that_only_look_like_it(name: str) -> None:
    assert not redactor(**{name: "hunter2hunter2"}).holds("x hunter2hunter2 x")


@pytest.mark.parametrize(
    "value",
    ["", "true", "1234567", "disabled", "/home/me/.ssh/id", "~/keys/a.pem", "../k/a", "C:\\k\\a"],
)
def test_values_that_are_no_secrets(value: str) -> None:
    assert redactor(A_KEY=value) == Redactor()


@pytest.mark.parametrize("value", ["/9j4AAQSk/ZJRg", "12345678", "correcthorse", "Disabled1"])
def test_values_that_may_be_secrets(value: str) -> None:
    assert redactor(A_KEY=value).text(f"<{value}>") == "<[secret:A_KEY]>"


FORMS = {
    "plain": SECRET,
    "quoted": quote(SECRET, safe=""),
    "quoted, slashes kept": quote(SECRET),
    "in a form": quote_plus(SECRET),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 without padding": base64.b64encode(SECRET.encode()).decode().rstrip("="),
    "base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode(),
    "JSON": json.dumps(SECRET)[1:-1],
    "JSON in Unicode": json.dumps(SECRET, ensure_ascii=False)[1:-1],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form(form: str) -> None:
    found = redactor(API_TOKEN=SECRET)
    assert found.text(f"a {form} b {form}") == "a [secret:API_TOKEN] b [secret:API_TOKEN]"
    assert found.holds(form)
    assert not found.holds("a b")


def test_percent_codes_in_small_letters():
    assert redactor(A_KEY="a+b/c=d&e").text("a%2bb%2fc%3dd%26e") == "[secret:A_KEY]"


@pytest.mark.parametrize("before", ["", "u", "me", "you", "user"])
@pytest.mark.parametrize("after", ["", "!", "!!", "!!!"])
def test_a_password_inside_a_longer_base64_text(before: str, after: str) -> None:
    """As in `Authorization: Basic …`: what is left tells less than two bytes at each end."""
    secret = "hunter2hunter2"
    whole = base64.b64encode(f"{before}:{secret}{after}".encode()).decode()
    redacted = redactor(DB_PASSWORD=secret).text(whole)
    assert "[secret:DB_PASSWORD]" in redacted
    head, tail = redacted.split("[secret:DB_PASSWORD]")
    start = 8 * len(f"{before}:")
    assert 6 * len(head) < start + 6
    assert 6 * (len(whole) - len(tail)) > start + 8 * len(secret) - 6


def test_white_space_around_a_value_is_no_part_of_it():
    assert redactor(A_KEY="hunter2hunter2\n").text("hunter2hunter2") == "[secret:A_KEY]"


def test_the_longest_secret_gives_the_name():
    found = redactor(A_KEY="abcdefgh", B_KEY="abcdefghij", C_KEY="bcdefghi")
    assert found.text("abcdefghij") == "[secret:B_KEY]"
    assert found.text("abcdefgh-bcdefghi") == "[secret:A_KEY]-[secret:C_KEY]"


def test_secrets_that_overlap_leave_no_rest():
    found = redactor(A_KEY="abcdefgh", B_KEY="efgh12345")
    assert found.text("x abcdefgh12345 y") == "x [secret:B_KEY] y"
    assert redactor(A_KEY="aaaaaaaa").text("a" * 13) == "[secret:A_KEY]"


def test_neighbours_stay_two():
    found = redactor(A_KEY="abcdefgh", B_KEY="12345678")
    assert found.text("abcdefgh12345678") == "[secret:A_KEY][secret:B_KEY]"


def test_a_value_that_stands_in_a_marker_does_not_disturb_it():
    found = redactor(SOME_KEY="hunter2hunter2", B_KEY="SOME_KEY", C_KEY="secret:S")
    once = found.text("hunter2hunter2 SOME_KEY")
    assert once == "[secret:SOME_KEY] [secret:B_KEY]"
    assert found.text(once) == once
    assert not found.holds(once)


def test_odd_characters_of_a_name_do_not_reach_the_marker():
    assert Redactor.from_environment({"A.]KEY": "abcdefgh"}).text("abcdefgh") == "[secret:A__KEY]"


def test_secrets_are_not_shown_by_the_redactor_itself():
    assert repr(redactor(A_KEY="hunter2hunter2")) == "Redactor()"


def test_an_environment_without_secrets_changes_nothing():
    found = redactor(HOME="/home/me", LANG="C.UTF-8")
    assert found.text("any [secret:X] text") == "any [secret:X] text"
    assert not found.holds("/home/me")


VALUES = st.one_of(
    st.text("ab", min_size=8, max_size=12),
    st.text(min_size=8, max_size=12),
    st.sampled_from(("[secret:A_KEY", "secret:B", "cret:A_KEY]x", "A_KEY]aaa", "x[secret:A_KEY]")),
)
ENVIRONMENTS = st.dictionaries(st.sampled_from(("A_KEY", "B_KEY", "C_TOKEN")), VALUES, max_size=3)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, str], str]:
    environ = draw(ENVIRONMENTS)
    pieces = st.one_of(
        st.text("ab[]:", max_size=6),
        st.sampled_from(("[secret:A_KEY]", "[secret:", "secret:", "A_KEY", *environ.values())),
    )
    return environ, "".join(draw(st.lists(pieces, max_size=8)))


@settings(max_examples=500, deadline=None)
@given(cases())
def test_redacting_twice_is_redacting_once(case: tuple[dict[str, str], str]) -> None:
    environ, text = case
    found = Redactor.from_environment(environ)
    once = found.text(text)
    assert found.text(once) == once
    assert not found.holds(once)
    assert found.holds(text) == (once != text)


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(exclude_categories=("Cs", "Z", "C")), min_size=8, max_size=20),
    st.text(" \n", max_size=10),
)
def test_a_secret_between_other_words_is_gone(secret: str, around: str) -> None:
    found = redactor(A_KEY=secret)
    assume(found.forms)
    assert found.text(f"{around}{secret}{around}") == f"{around}[secret:A_KEY]{around}"
