"""The names of OpenTelemetry's conventions that spans use, and of what these have no name for.

Sources: the conventions for HTTP spans (stable) and for generative AI (in development: names may change, and then only
here). What a client or an upstream wrote is no attribute, but for the name of the model.
"""

from __future__ import annotations

from argoproxy.telemetry.metrics import OPERATIONS

HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
#: The code of the error that the client got; of an attempt, the kind of its failure.
ERROR_TYPE = "error.type"

OPERATION = "gen_ai.operation.name"
#: The name of the upstream in the settings.
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
IS_STREAM = "gen_ai.request.stream"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
FIRST_CHUNK_S = "gen_ai.response.time_to_first_chunk"

REQUEST_ID = "argoproxy.request.id"
KEY = "argoproxy.key"
ENDING = "argoproxy.ending"
CACHE = "argoproxy.cache"
COST = "argoproxy.cost"
QUEUE_S = "argoproxy.queue_wait"
#: What the upstream's error was, in a span of an attempt that failed.
ERROR_CODE = "argoproxy.error.code"


def operation_of(route: str) -> str:
    """Return the name of what a path does; "" where the conventions have none."""
    return OPERATIONS.get(route, "")
