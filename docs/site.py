"""What mkdocs is told beyond its configuration (`hooks` of `mkdocs.yml`).

Pages say behind a fence's language what a test should do with it (a file's name, an exit code), and in
comments before it how it is run. Both are for the tests of this repository and not for readers.
"""

import re
from typing import Any

FENCE = re.compile(r"^```(\w+) [^\n]+$", re.MULTILINE)
TOLD = re.compile(r"^<!-- (?:not run|offline|first): [^\n]*? -->\n", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page as readers get it."""
    return TOLD.sub("", FENCE.sub(r"```\1", markdown))
