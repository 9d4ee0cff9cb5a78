"""Conformance: does what a plugin brings keep the promises of `loopspec.hooks`? For an author's tests.

Each function tries one thing out and gives back an `Account`; in a test, `.check()` it:

    >>> from loopspec.testing import conformance
    >>> from loopspec.tools.files import READ
    >>> account = conformance.tool(READ, {"path": "a.txt"}, files={"a.txt": "one"})
    >>> account.check()
    >>> account.faults
    []

`print(account)` is the report for people: each promise, kept or broken. What is tried is real: a tool is
run and cancelled in a work directory of its own, a kind runs in a real session with the real driver, a
store is written to from many threads. Nothing is installed for it: a plugin is tried as it stands.
"""

from typing import Any, Final

from loopspec.performers import builtin
from loopspec.registry import PluginError, Registry, build
from loopspec.testing.conformance_base import Account
from loopspec.testing.conformance_kinds import kind
from loopspec.testing.conformance_models import provider
from loopspec.testing.conformance_stores import store
from loopspec.testing.conformance_tools import tool
from loopspec.version import __version__

__all__: Final = ["Account", "kind", "plugin", "provider", "store", "tool", "with_plugin"]


def plugin(module: Any, name: str = "mine") -> Account:
    """Everything a plugin (a module or object) declares, as loading it looks at it."""
    account = Account(f"plugin {name}")
    fault = ""
    try:
        with_plugin(module, name)
    except PluginError as err:
        fault = str(err)
    account.note("it can be loaded beside what loopspec ships", fault)
    return account


def with_plugin(module: Any, name: str = "mine") -> Registry:
    """What loopspec ships and this plugin beside it, whatever is installed; raises `PluginError`.

    For tests that read, simulate or run a spec with it: `loopspec.testing.simulate(…, registry=…)`.
    """
    return build([("builtin", __version__, builtin), (name, "0", module)])
