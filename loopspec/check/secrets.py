"""Secrets: keys and passwords that stand in a spec as they are.

Rules of this file:
1. A spec is committed, its machine is journaled: a secret in it is an error, not a warning.
2. No message shows the secret, nor any line it stands in (`hide`).
3. Known formats are refused wherever they stand. Under a key that names a secret a text without spaces
   is one, unless it plainly is none (a placeholder, an ordinary word, a reference to the environment).

Formats: the prefixes that the providers document (GitHub, GitLab, Slack, AWS, Google, Anthropic,
OpenAI, Stripe, npm, Hugging Face), PEM private keys and JSON Web Tokens (RFC 7519).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from loopspec.governance.redact import is_secret, names_secret
from loopspec.machine.model import Place
from loopspec.spec.diagnose import LINE_BREAK, Diagnostic, Diagnostics, Located, quote
from loopspec.spec.source import Node

_FORMATS: Final = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:
      sk-ant-[A-Za-z0-9_-]{16,}
    | sk-(?:proj|svcacct|or-v1)-[A-Za-z0-9_-]{20,}
    | sk-(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Z])[A-Za-z0-9_-]{20,}
    | (?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{30,}
    | github_pat_[A-Za-z0-9_]{30,}
    | glpat-[A-Za-z0-9_-]{18,}
    | xox[abposr]-[A-Za-z0-9-]{16,}
    | (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])
    | AIza[A-Za-z0-9_-]{35}
    | (?:sk|rk)_live_[A-Za-z0-9]{16,}
    | npm_[A-Za-z0-9]{36}
    | hf_[A-Za-z0-9]{30,}
    | eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}
    )|-----BEGIN\ [A-Z ]{0,30}PRIVATE\ KEY-----(?:[ \t]*\r?\n[ \t]*|\\n)[A-Za-z0-9+/=:-]{4,}
    | \bBearer[ ]{1,3}(?=\S{0,200}[0-9])[A-Za-z0-9._~+/-]{20,}
    | (?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^\s/:@]{1,200}:(?P<word>[^\s/:@{$<]{1,200})@""",
    re.VERBOSE,
)
_EXAMPLE: Final = re.compile(r"(?i)EXAMPLE$|[x*.]{8,}|your[_-]?|_here\b|placeholder")
_NO_WORD: Final = re.compile(
    r"(?i)\d{1,5}|pass|passwd|password|secret|pwd|user|x+|\*+|\.+|example|changeme"
)
# Tokens of a tokenizer, which are public.
_NO_NAME: Final = re.compile(r"(?i)(?:pad|stop|eos|bos|end|start|mask|unk|sep|max|min)[_-]?tokens?")
_NAMES: Final = re.compile(r"(?i)(?:^|[_-])(?:pwd|jwt|cookie|authorization|passphrase)$")
_PLAIN: Final = re.compile(
    r"(?i)(?:\*|x|\.)*|<[^>]*>|\$\{?\w+\}?|os\.environ/\S+|env:\S+|\{\{.*\}\}|.*(?:your|change)[_-]?.*"
    r"|todo|none|null|example.*|placeholder.*"
)
_CODE: Final = frozenset({"assign", "guard", "on", "say", "log", "prompts"})
"""Keys whose values are expressions, texts or routes: a name there says nothing about a value."""


class Secrets:
    """The secrets of one spec: reports them, and keeps them out of whatever is said of it."""

    def __init__(self, root: Node | None, source: str) -> None:
        """`root` is the tree of `source`, None when it could not be read to its end.

        Formats are looked for in the whole text, comments and broken documents too; names in the tree.
        """
        self._found: list[tuple[Located, str, str]] = [
            (_place(source, m.start()), "", m[0]) for m in _formats(source)
        ]
        told = [text for _, _, text in self._found]
        if root is not None:
            self._found += [held for held in _held(root) if not any(t in held[2] for t in told)]

    def report(self, found: Diagnostics) -> None:
        """Report LS603 for every secret."""
        for at, name, _ in self._found:
            fault = f"{quote(name)} holds a secret" if name else "here stands what looks like a secret"
            remedy = (
                "remove it and withdraw it where it was issued; put the new one into the environment "
                "variable that the provider or tool reads"
            )
            found.add("LS603", at, fault + " in plain sight", remedy, hidden=True)

    def hide(self, told: Iterable[Diagnostic]) -> list[Diagnostic]:
        """`told` without the secrets, in whatever they say and show."""
        told = list(told)
        lines = {d.line for d in told if d.hidden}
        for at, _, text in self._found:
            lines |= set(range(at.line, at.line + text.count("\n") + 1))
        texts = [text for _, _, text in self._found]
        parts = [part for text in texts for part in (text, text[:59], *text.split()) if len(part) >= 8]
        parts.sort(key=len, reverse=True)

        def clean(text: str) -> str:
            for part in parts:
                text = text.replace(part, "[secret]")
            return text

        return [
            replace(
                d,
                fault=clean(d.fault),
                remedy=clean(d.remedy),
                near=tuple(map(clean, d.near)),
                hidden=d.hidden or d.line in lines,
            )
            for d in told
        ]


def _held(root: Node) -> Iterator[tuple[Located, str, str]]:
    """What stands under a name that says it is secret: its place, the name, itself."""
    for at, name, text in _texts(root, ""):
        if name and _named(name) and _may_be(text):
            yield at, name, text


def _formats(source: str) -> Iterator[re.Match[str]]:
    for match in _FORMATS.finditer(source):
        word = match["word"]
        plain = _NO_WORD.fullmatch(word) if word is not None else _EXAMPLE.search(match[0])
        if not plain:
            yield match


def _place(source: str, offset: int) -> Place:
    lines = LINE_BREAK.split(source[:offset])
    return Place(len(lines), len(lines[-1]) + 1)


def _named(name: str) -> bool:
    """Whether a key's name says that its value is secret."""
    return (names_secret(name) or bool(_NAMES.search(name))) and not _NO_NAME.fullmatch(name)


def _may_be(text: str) -> bool:
    """Whether a text under such a name can be a secret."""
    return is_secret(text) and not re.search(r"\s", text) and not _PLAIN.fullmatch(text)


def _texts(node: Node, name: str) -> Iterator[tuple[Located, str, str]]:
    """Every text of a tree: its place, the name it stands under, itself. Keys are texts as well.

    A `default` stands under the name of what is declared, a `value` under the `name` beside it.
    """
    match node.kind:
        case "scalar":
            yield node, name if isinstance(node.value, str) else "", node.text
        case "list":
            for item in node.items:
                yield from _texts(item, name)
        case _:
            beside = node.get("name")
            for entry in node.entries:
                yield entry, "", entry.key
                inner = "" if entry.key in _CODE else entry.key
                if entry.key == "default":
                    inner = name
                elif entry.key == "value" and beside is not None and beside.kind == "scalar":
                    inner = beside.text
                yield from _texts(entry.value, inner)
