"""Settings: the keys of both tools in a spec (`with:`), as JSON Schema and as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MICRO: Final = 1_000_000

_HOSTS: Final[dict[str, Any]] = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "string", "minLength": 1},
    "description": (
        "Hosts that may be asked: `api.example.com`, or `*.example.com` for any host below it. "
        "A lone `*` is any host. An IPv6 address stands without brackets."
    ),
    "examples": [["api.example.com", "*.python.org"]],
}
_COMMON: Final[dict[str, Any]] = {
    "hosts": _HOSTS,
    "schemes": {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "enum": ["https", "http"]},
        "default": ["https"],
        "description": "Schemes that may be used. Default: https only.",
    },
    "ports": {
        "type": "array",
        "minItems": 1,
        "items": {"type": "integer", "minimum": 1, "maximum": 65535},
        "default": [80, 443],
        "description": "Ports that may be used. Default: 80 and 443.",
        "examples": [[443]],
    },
    "headers": {
        "type": "array",
        "items": {"type": "string", "pattern": "^[A-Za-z0-9-]+$"},
        "default": ["Accept", "Accept-Language"],
        "description": "Request headers the model may set. Default: Accept and Accept-Language.",
    },
    "max_size": {
        "type": "string",
        "format": "size",
        "description": "The most of a body that is read, after decompression. Default: 1MB.",
        "examples": ["200KB"],
    },
    "timeout": {
        "type": "string",
        "format": "duration",
        "description": "The most a whole request may take. Default: 30s.",
        "examples": ["10s"],
    },
    "private": {
        "type": "boolean",
        "default": False,
        "description": (
            "Also ask addresses of private networks and of this machine. Leave it false unless the "
            "hosts are your own."
        ),
    },
}


def _schema(**more: Any) -> dict[str, Any]:
    """The schema of one tool's keys."""
    return {
        "type": "object",
        "properties": {**_COMMON, **more},
        "required": ["hosts"],
        "additionalProperties": False,
    }


FETCH_CONFIG: Final = _schema()
SEND_CONFIG: Final = _schema(
    methods={
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "enum": ["POST", "PUT", "PATCH", "DELETE"]},
        "default": ["POST"],
        "description": "Methods that may be used. Default: POST.",
    }
)


@dataclass(frozen=True)
class Settings:
    """What the spec allows. `max_size` is bytes, `timeout` seconds; `headers` are in lower case."""

    hosts: tuple[str, ...]
    schemes: tuple[str, ...] = ("https",)
    ports: tuple[int, ...] = (80, 443)
    headers: tuple[str, ...] = ("accept", "accept-language")
    methods: tuple[str, ...] = ("GET", "HEAD", "POST")
    max_size: int = 1_000_000
    timeout: float = 30.0
    private: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Settings":
        """The settings a spec's keys mean; durations arrive in microseconds, sizes in bytes."""
        usual = cls(hosts=())
        return cls(
            hosts=tuple(str(host).lower() for host in config.get("hosts", ())),
            schemes=tuple(config.get("schemes", usual.schemes)),
            ports=tuple(config.get("ports", usual.ports)),
            headers=tuple(str(h).lower() for h in config.get("headers", usual.headers)),
            methods=("GET", "HEAD", *config.get("methods", ("POST",))),
            max_size=int(config.get("max_size", usual.max_size)),
            timeout=int(config["timeout"]) / MICRO if "timeout" in config else usual.timeout,
            private=bool(config.get("private", False)),
        )
