"""Redaction: no secret of the environment leaves in a text. Pure, given the environment's mapping.

Rules of this file:
1. A secret is hidden in every form it usually takes: as it is, URL-quoted, in base64 (also as a
   part of a longer encoded text) and JSON-escaped.
2. Where secrets overlap, everything they cover is hidden, under the name of the longest.
3. A text that has been redacted does not change when it is redacted again, and holds no secret.
4. A `Redactor` never shows its secrets, not even in its `repr`.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, quote_plus

MIN_LENGTH: Final = 8

# KEY ends ordinary words (MONKEY), so it must stand alone or in one of these; the others may also
# end a part (PGPASSWORD, GITHUBTOKEN).
_KEY_WORDS: Final = frozenset(
    {"KEY", "APIKEY", "ACCESSKEY", "AUTHKEY", "PRIVATEKEY", "SECRETKEY", "SIGNINGKEY"}
)
_ENDINGS: Final = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")

# Names that look like secrets and hold none: git's configuration by environment, the public
# fingerprint in Python's own container images, and a switch of a library.
_NOT_SECRET_NAMES: Final = re.compile(r"GIT_CONFIG_KEY_\d+|GPG_KEY|TOKENIZERS_PARALLELISM")
_NOT_SECRET_VALUES: Final = frozenset(
    {"disabled", "required", "optional", "undefined", "unlimited", "automatic", "anonymous"}
)

# A secret in base64 can begin with a slash, so only a path under a well-known root is a plain path.
_PLAIN_PATH: Final = re.compile(
    r"(?:~|\.|\.\.|/(?:app|data|dev|etc|home|mnt|opt|private|proc|root|run|srv|tmp|usr|var"
    r"|workspaces?|Users|Library|Volumes)|[A-Za-z]:)[/\\][\w@ .\-/\\]*"
)
_MARKER: Final = re.compile(r"\[secret:[A-Za-z0-9_]+\]")
_PERCENT: Final = re.compile(r"%[0-9A-F]{2}")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class Redactor:
    """Replaces secrets in texts. `forms` are the forms to look for and the name each belongs to."""

    forms: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Redactor":
        """A redactor for the values of variables whose names say that they are secret."""
        found: dict[str, str] = {}
        for name in sorted(environ):
            value = environ[name].strip()
            if names_secret(name) and is_secret(value):
                marker = f"[secret:{re.sub(r'[^A-Za-z0-9]', '_', name)}]"
                for form in _forms(value):
                    found.setdefault(form, marker)
        return cls(tuple(sorted(found.items(), key=lambda f: (-len(f[0]), f))))

    def text(self, text: str) -> str:
        """`text` with `[secret:NAME]` in place of each secret."""
        covered = self._covered(text)
        if not covered:
            return text
        out: list[str] = []
        done = 0
        for start, stop, marker in covered:
            out += (text[done:start], marker)
            done = stop
        return "".join(out) + text[done:]

    def holds(self, text: str) -> bool:
        """Whether `text` holds a secret."""
        return bool(self._covered(text))

    def _covered(self, text: str) -> list[tuple[int, int, str]]:
        """What secrets cover in `text`, in order and apart: start, end, marker.

        Markers already in the text are not looked into, and a secret does not reach across one;
        else a name in a marker could itself be redacted.
        """
        present = [(form, marker) for form, marker in self.forms if form in text]
        if not present:
            return []
        out: list[tuple[int, int, str]] = []
        done = 0
        for mark in _MARKER.finditer(text):
            out += _merged(present, text, done, mark.start())
            done = mark.end()
        return out + _merged(present, text, done, len(text))


def names_secret(name: str) -> bool:
    """Whether a variable's name says that its value is secret."""
    if _NOT_SECRET_NAMES.fullmatch(name.upper()):
        return False
    for part in re.split(r"[^A-Za-z0-9]+", _CAMEL.sub("_", name)):
        word = part.upper().rstrip("0123456789")
        for form in (word, word.removesuffix("S")):
            if form in _KEY_WORDS or form.endswith(_ENDINGS):
                return True
    return False


def is_secret(value: str) -> bool:
    """Whether a value can be a secret: long enough, no plain word and no plain path."""
    if len(value) < MIN_LENGTH or value.lower() in _NOT_SECRET_VALUES:
        return False
    return not _PLAIN_PATH.fullmatch(value) and not _MARKER.fullmatch(value)


def _forms(value: str) -> Iterator[str]:
    """Every form of a secret that texts are searched for; none is shorter than `MIN_LENGTH`."""
    quoted = (quote(value, safe="", errors="replace"), quote(value, errors="replace"))
    plus = quote_plus(value, errors="replace")
    raw = value.encode("utf-8", "replace")
    whole = base64.b64encode(raw).decode()
    yield from (value, *quoted, plus)
    yield from (_PERCENT.sub(lambda m: m[0].lower(), form) for form in (*quoted, plus))
    yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    for form in (whole, whole.rstrip("="), *_cores(raw)):
        if len(form) >= MIN_LENGTH:
            yield form
            yield form.replace("+", "-").replace("/", "_")


def _cores(raw: bytes) -> Iterator[str]:
    """What of the secret's base64 stays the same when it stands inside a longer encoded text.

    Three bytes make four characters, so there are three ways to fall into step; characters that
    also depend on the neighbours are left out. This finds the password in HTTP's basic
    authentication.
    """
    for shift in range(3):
        bits_before, bits = 8 * shift, 8 * (shift + len(raw))
        first, last = -(-bits_before // 6), bits // 6
        yield base64.b64encode(b"\0" * shift + raw).decode()[first:last]


def _merged(
    present: list[tuple[str, str]], text: str, start: int, stop: int
) -> list[tuple[int, int, str]]:
    """What the forms cover between `start` and `stop`, overlapping places joined."""
    places: list[tuple[int, int, str]] = []
    for form, marker in present:
        at = text.find(form, start, stop)
        while at >= 0:
            places.append((at, at + len(form), marker))
            at = text.find(form, at + 1, stop)
    out: list[tuple[int, int, str]] = []
    longest = 0
    for begin, end, marker in sorted(places, key=lambda p: (p[0], -p[1], p[2])):
        size = end - begin
        if out and begin < out[-1][1]:
            old_begin, old_end, old_marker = out[-1]
            out[-1] = (old_begin, max(old_end, end), marker if size > longest else old_marker)
            longest = max(longest, size)
        else:
            out.append((begin, end, marker))
            longest = size
    return out
