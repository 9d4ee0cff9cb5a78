"""Secrets: keys and passwords that stand in a spec as they are.

Rules of this file:
1. A spec is committed, its machine is journaled: a secret in it is an error, not a warning.
2. The message never shows the secret, nor the line it stands in.
3. Known formats are refused wherever they stand; under a key that names a secret any text is, unless
   it plainly is none (empty, a placeholder, a reference to the environment).

Formats: the prefixes that the providers document (GitHub, GitLab, Slack, AWS, Google, Anthropic,
OpenAI, Stripe, npm, Hugging Face), PEM private keys and JSON Web Tokens (RFC 7519).
"""

import re
from collections.abc import Iterator
from typing import Final

from loopspec.spec.diagnose import Diagnostics, Located, quote
from loopspec.spec.source import Entry, Node

_FORMATS: Final = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:
      sk-ant-[A-Za-z0-9_-]{16,}
    | sk-(?:proj-|svcacct-|or-v1-)?[A-Za-z0-9_-]{20,}
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
    )|-----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | \bBearer\s+[A-Za-z0-9._~+/-]{20,}
    | [a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/:@{$<]+@""",
    re.VERBOSE,
)
_NAMES: Final = re.compile(
    r"(?:^|[_-])(?:api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|auth[_-]?token|token|secret|"
    r"password|passwd|passphrase|credentials?|authorization)$",
    re.IGNORECASE,
)
_FREE: Final = frozenset({"params", "with"})
_PLAIN: Final = re.compile(
    r"\s*|\*+|x+|<[^>]*>|\$\{?\w+\}?|os\.environ/\w+|env:\w+|\{\{.*\}\}", re.IGNORECASE
)


def check_secrets(found: Diagnostics, root: Node) -> None:
    """Report LS603 for every secret below `root`."""
    for at, name, text in _texts(root, "", False):
        if _FORMATS.search(text):
            fault = "here stands what looks like a secret"
        elif name and _NAMES.search(name) and not _PLAIN.fullmatch(text):
            fault = f"{quote(name)} holds a secret"
        else:
            continue
        remedy = (
            "remove it and withdraw it where it was issued; put the new one into the environment "
            "variable that the provider or tool reads"
        )
        found.add("LS603", at, fault + " in plain sight", remedy, hidden=True)


def _texts(node: Node, name: str, free: bool) -> Iterator[tuple[Located, str, str]]:
    """Every text of a tree: its place, the key it stands under in free configuration, itself.

    Keys of a map are texts as well. Iterative over the tree's width, recursive over its bounded depth.
    """
    match node.kind:
        case "scalar":
            yield node, name if free else "", node.text
        case "list":
            for item in node.items:
                yield from _texts(item, name, free)
        case _:
            for entry in node.entries:
                yield from _entry(entry, free)


def _entry(entry: Entry, free: bool) -> Iterator[tuple[Located, str, str]]:
    yield entry, "", entry.key
    yield from _texts(entry.value, entry.key, free or entry.key in _FREE)
