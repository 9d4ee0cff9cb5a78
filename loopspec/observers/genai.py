"""Names of OpenTelemetry's semantic conventions for generative AI, copied: they are not stable yet.

They are those of `opentelemetry-semantic-conventions` 0.66b2 (schema 1.44.0, `gen_ai.*`, in
development), copied so that an update of that package changes nothing here. What has no name there is
called `loopspec.*`.
"""

from collections.abc import Mapping
from typing import Final

SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
AGENT: Final = "gen_ai.agent.name"
AGENT_VERSION: Final = "gen_ai.agent.version"
CONVERSATION: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
TOOL: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL: Final = "gen_ai.tool.call.id"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
ERROR: Final = "error.type"
INVOKE: Final = "invoke_agent"
CHAT: Final = "chat"
EXECUTE: Final = "execute_tool"
COST: Final = "loopspec.usage.cost_nano_usd"
"""Integer nano-USD; left out when the price is unknown."""
_PROVIDERS: Final[Mapping[str, str]] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}


def provider(use: str) -> str:
    """The conventions' name for the provider of `prefix/model`."""
    prefix = use.partition("/")[0] if "/" in use else "unknown"
    return _PROVIDERS.get(prefix, prefix)


def model(use: str) -> str:
    """The model's name without its provider."""
    return use.partition("/")[2] or use
