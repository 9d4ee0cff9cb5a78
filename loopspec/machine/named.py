"""Named: what the configuration of a plugin's kind says in loopspec's own terms.

A kind's JSON Schema marks texts by their `format`. `{"type": "string", "format": "model"}` is the name
of a declared model: the performer may ask that model and no other. `{"type": "string", "format":
"template"}` is a Jinja2 text, rendered when the state's work begins; the performer gets what came of it.

Rules of this file:
1. Marks are followed through `properties`, `items` and `additionalProperties`, as those of typed
   literals are; elsewhere in a schema (`anyOf`, `$ref`…) a mark means nothing.
2. All is computed from what a machine holds anyway, so no machine and no digest changes for it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from loopspec.codec import canonical_json
from loopspec.machine.model import Machine

MODEL: Final = "model"
TEMPLATE: Final = "template"
MARKS: Final = (MODEL, TEMPLATE)


def models_of(machine: Machine, path: str) -> tuple[str, ...]:
    """The declared models a state may ask: its own, then those its configuration names."""
    state = machine.states[path]
    own = (state.model,) if state.model else ()
    kind = machine.kinds.get(state.kind)
    more = marked_texts(kind.schema, state.config, MODEL) if kind is not None else ()
    return tuple(dict.fromkeys((*own, *more)))


def asides(machine: Machine) -> frozenset[str]:
    """The models that only plugins' work asks: the conversation need not fit their windows."""
    own = {state.model for state in machine.states.values()}
    asked = {name for path in machine.states for name in models_of(machine, path)}
    return frozenset(asked - own)


def templates_of(machine: Machine, path: str) -> tuple[str, ...]:
    """The Jinja2 texts in a state's configuration."""
    state = machine.states[path]
    kind = machine.kinds.get(state.kind)
    return marked_texts(kind.schema, state.config, TEMPLATE) if kind is not None else ()


@lru_cache(maxsize=256)
def marked_texts(schema: str, config: str, form: str) -> tuple[str, ...]:
    """The texts of a configuration (JSON text) that its schema (JSON text) marks so, each once."""
    if f'"{form}"' not in schema:
        return ()
    return tuple(dict.fromkeys(_texts(json.loads(config), json.loads(schema), form)))


def rendered(schema: str, config: str, render: Callable[[str], str]) -> str:
    """A configuration (JSON text) with its marked Jinja2 texts rendered."""
    if not marked_texts(schema, config, TEMPLATE):
        return config
    return canonical_json(_filled(json.loads(config), json.loads(schema), render))


def is_mark(schema: Any, form: str) -> bool:
    """Whether this part of a schema marks a text so."""
    return isinstance(schema, Mapping) and (schema.get("type"), schema.get("format")) == ("string", form)


def within(schema: Any, key: str | int) -> Any:
    """The part of a schema that describes what stands under a key, or as an item, of its value."""
    if not isinstance(schema, Mapping):
        return None
    if isinstance(key, int):
        return schema.get("items")
    known = schema.get("properties")
    known = known if isinstance(known, Mapping) else {}
    return known.get(key, schema.get("additionalProperties"))


def _texts(value: Any, schema: Any, form: str) -> Iterator[str]:
    if isinstance(value, str) and is_mark(schema, form):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, within(schema, key), form)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, within(schema, 0), form)


def _filled(value: Any, schema: Any, render: Callable[[str], str]) -> Any:
    if isinstance(value, str) and is_mark(schema, TEMPLATE):
        return render(value)
    if isinstance(value, dict):
        return {key: _filled(inner, within(schema, key), render) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, within(schema, 0), render) for inner in value]
    return value
