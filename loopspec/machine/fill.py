"""Fill: plain data into typed messages, field by field, where nothing has to be converted.

Rules of this file:
1. It knows only values of exactly the type a field takes. At the first other one it gives up, and the
   general way (protobuf's own reading of JSON) converts or complains: the words of a complaint and
   every odd conversion are that way's alone.
2. What is filled here has the bytes that the general way would give it.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

_SCALARS: Final[Mapping[str, type]] = {
    "string": str,
    "int": int,
    "integer": int,
    "bool": bool,
    "boolean": bool,
    "number": float,
}
_EXACT: Final = 1 << 1_000
"""Above this a whole number might not fit a double."""
_DEEPEST: Final = 32


def filled(message: Any, words: Mapping[str, str], data: Mapping[str, Any]) -> bool:
    """Fill `message`, whose fields have these type words, with `data`; keys it has no field for are
    left out. False: something needs the general way, and the message is half filled."""
    try:
        for name, value in data.items():
            word = words.get(name)
            if word is None or value is None:
                continue
            want = _SCALARS.get(word)
            if want is None:
                if not _inner(getattr(message, name), word, value):
                    return False
                continue
            if type(value) is not want or (type(value) is float and not isfinite(value)):
                return False
            setattr(message, name, value)
    except (ValueError, TypeError, OverflowError):  # a text that is no Unicode, a number too large
        return False
    return True


def _inner(field: Any, word: str, value: Any) -> bool:
    """Fill a field that is no scalar; False if the value is not exactly of its type."""
    if word == "calls":
        return type(value) is list and _calls(field, value)
    if word == "struct":
        return type(value) is dict and _struct(field, value, _DEEPEST)
    if word == "strings":
        if type(value) is not list or not all(type(v) is str for v in value):
            return False
        field.extend(value)
        return True
    return _value(field, value, _DEEPEST)


def _calls(field: Any, calls: list[Any]) -> bool:
    """Fill the calls of a reply, as `event_data` gives them."""
    for call in calls:
        made = field.add()
        if not all(type(call[name]) is str for name in ("tool", "problem")):
            return False
        made.tool, made.problem = call["tool"], call["problem"]
        if type(call["args"]) is not dict or not _struct(made.args, call["args"], _DEEPEST):
            return False
    return True


def _struct(message: Any, value: dict[str, Any], depth: int) -> bool:
    """Fill a `Struct`; one without fields is there, too."""
    message.SetInParent()
    fields = message.fields
    for key, inner in value.items():
        if type(key) is not str or not _value(fields[key], inner, depth - 1):
            return False
    return True


def _value(message: Any, value: Any, depth: int) -> bool:
    """Fill a `Value` with free JSON."""
    if depth < 0:
        return False
    kind = type(value)
    if kind is str:
        message.string_value = value
    elif kind is bool:
        message.bool_value = value
    elif (kind is int and -_EXACT < value < _EXACT) or (kind is float and isfinite(value)):
        message.number_value = value
    elif value is None:
        message.null_value = 0
    elif kind is dict:
        return _struct(message.struct_value, value, depth)
    elif kind is list:
        items = message.list_value
        items.SetInParent()
        return all(_value(items.values.add(), inner, depth - 1) for inner in value)
    else:
        return False
    return True
