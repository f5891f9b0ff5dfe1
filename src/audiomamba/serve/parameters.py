"""The parameters of addresses, with what /openapi.json says of them."""

from typing import Annotated, Any, Literal

from fastapi import Query

__all__ = [
    "RECORDING_BODY",
    "Address",
    "EventFormat",
    "Gap",
    "Hop",
    "Median",
    "ModelName",
    "ReadAs",
    "Shortest",
    "Stay",
    "Step",
    "Threshold",
    "TopK",
    "Window",
    "answers",
]

ModelName = Annotated[
    str | None, Query(description="A model of /v1/models; by default the first.", max_length=200)
]
Address = Annotated[
    str | None,
    Query(
        description="Where the recording is, instead of a body; only hosts of --allow-fetch.",
        max_length=2000,
    ),
]
TopK = Annotated[
    int | None,
    Query(ge=1, description="Give at most this many tags; by default 3, or all with threshold."),
]
Threshold = Annotated[
    float | None, Query(ge=0, le=1, description="Tags that score at least this; events begin here.")
]
ReadAs = Annotated[
    Literal["windows", "native"],
    Query(description="Read in windows, or in one pass, where the model can."),
]
Window = Annotated[float | None, Query(description="Seconds in a window; by default the model's.")]
Hop = Annotated[float | None, Query(description="Seconds from one window's start to the next's.")]
Step = Annotated[float, Query(description="Seconds between scores.")]
Stay = Annotated[float, Query(description="The share of the threshold that keeps an event going.")]
Median = Annotated[float, Query(ge=0, description="Seconds of the median filter.")]
Shortest = Annotated[float, Query(ge=0, description="Drop events that are shorter, in seconds.")]
Gap = Annotated[float, Query(ge=0, description="Join events at most this far apart, in seconds.")]
EventFormat = Annotated[
    Literal["json", "csv", "audacity", "rttm"], Query(description="How events are written.")
]

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}
RECORDING_BODY: dict[str, Any] = {
    "requestBody": {
        "description": "The recording as it is, in any format, or a form with one file.",
        "content": {"application/octet-stream": _BINARY, "multipart/form-data": _FORM},
    }
}


def answers(example: Any, **others: str) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of an address.

    Args:
        example: of a good answer.
        **others: what else status 200 may hold, such as csv="text/csv".

    Returns:
        As FastAPI takes it.
    """
    content: dict[str, Any] = {"application/json": {"example": example}}
    content |= {kind: {"schema": {"type": "string"}} for kind in others.values()}
    error = {"application/json": {"example": {"error": "a.wav: not audio that can be read"}}}
    reasons = {
        400: "A parameter or the body is not what it should be.",
        401: "The token is missing or wrong.",
        404: "There is no such model.",
        408: "The body comes too slowly.",
        413: "The body or the recording is too large.",
        415: "The recording needs a decoder that is not installed.",
        422: "The recording cannot be read.",
        503: "There is no room now; Retry-After says when to come again.",
        504: "The recording takes longer than a request may.",
    }
    refused: dict[int | str, dict[str, Any]] = {
        code: {"description": text, "content": error} for code, text in reasons.items()
    }
    return {200: {"description": "Done.", "content": content}, **refused}
