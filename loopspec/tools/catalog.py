"""The catalog: every tool loopspec brings. They come through the same hook as a plugin's."""

from typing import Final

from loopspec.hooks import Tool
from loopspec.tools import ask, files, find, recall, shell

TOOLS: Final[tuple[Tool, ...]] = (
    files.READ,
    files.WRITE,
    files.EDIT,
    find.LIST,
    find.SEARCH,
    shell.RUN,
    ask.PERSON,
    recall.RECALL,
)
