"""The addresses that answer about one recording: with the same records as the command line."""

import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from audiomamba.infer import EventRule, Framing, RecordingEvents, Tagged, Tagger
from audiomamba.infer.batch import kept_tags
from audiomamba.infer.embedding import embed_recording
from audiomamba.infer.events import EventFinder, PerClass, in_order
from audiomamba.infer.formats.events import EVENT_FORMATS
from audiomamba.infer.formats.format import choose_by_name
from audiomamba.infer.frame_scores import embed_frames, score_frames
from audiomamba.infer.reading import TagOptions
from audiomamba.infer.results import DIGITS, Row
from audiomamba.serve import parameters as given
from audiomamba.serve.bounded import Stop, check_recording
from audiomamba.serve.received import Received
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.service import service_of
from audiomamba.serve.uploads import receive_json, receive_recording, until_left

__all__ = ["NAME", "events_of", "events_text", "router", "thresholds_of"]

NAME = "audio data"  # what answers call every recording: names from outside are not used
DEFAULT_TOP = 3
HUB_TOP = 5
DEFAULT_THRESHOLD = 0.3
MOST_NUMBERS = 4_000_000  # in an answer with embeddings
MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "audacity": "text/plain; charset=utf-8",
    "rttm": "text/plain; charset=utf-8",
}
TAGS = {
    "file": NAME,
    "seconds": 1.5,
    "tags": [{"label": "Dog", "score": 0.71, "heard": True}],
    "note": "",
    "error": "",
}
EVENTS = {
    "file": NAME,
    "seconds": 12.0,
    "step_s": 0.1,
    "events": [{"label": "Dog", "start_s": 3.2, "end_s": 4.1, "score": 0.83}],
}
EMBEDDING = {"file": NAME, "seconds": 1.5, "step_s": None, "embeddings": [[0.12, -0.4]]}
HUB_TAGS = [{"label": "Dog", "score": 0.71}]
HUB_BODY: dict[str, Any] = {
    "requestBody": {
        "description": "The recording as it is, or as JSON with the recording in base64.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"example": {"inputs": "UklGRg==", "parameters": {"top_k": 5}}},
        },
    }
}

router = APIRouter(tags=["recordings"])


async def _answer(
    request: Request,
    received: Received,
    model: str | None,
    work: Callable[[Tagger, Received], tuple[float, Any]],
) -> Response:
    """Let a worker hear a recording; what the work returns is its seconds, and JSON or text."""
    service = service_of(request)

    def hear(stop: Stop) -> str:
        check_recording(received.file, service.settings, stop)
        seconds, content = work(service.bounded(model, stop), received)
        service.metrics.heard(seconds)
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)

    try:
        service.tagger(model)
    except RefusedError:
        received.close()
        raise
    text = await service.work.run(hear, left=lambda: until_left(request), finish=received.close)
    return Response(text, media_type="application/json")


@router.post("/v1/tag", responses=given.answers(TAGS), openapi_extra=given.RECORDING_BODY)
async def tag(
    request: Request,
    model: given.ModelName = None,
    address: given.Address = None,
    top_k: given.TopK = None,
    threshold: given.Threshold = None,
    window_s: given.Window = None,
    hop_s: given.Hop = None,
    mode: given.ReadAs = "windows",
) -> Response:
    """Say what is heard in a recording, as `audiomamba tag --json` does."""
    if top_k is None and not threshold:
        top_k = DEFAULT_TOP
    options = TagOptions(
        top=top_k, threshold=threshold or 0.0, window_s=window_s, hop_s=hop_s, mode=mode
    )
    service_of(request).tagger(model).check(options)

    def work(tagger: Tagger, received: Received) -> tuple[float, Row]:
        scored = tagger.score_recording(received.file, options)
        tags = kept_tags(tagger.ranked(scored.scores), options)
        return scored.seconds, Tagged(Path(NAME), scored.seconds, tags, scored.note).to_dict()

    return await _answer(request, await receive_recording(request, address), model, work)


@router.post(
    "/v1/timeline",
    responses=given.answers(EVENTS, csv="text/csv", text="text/plain"),
    openapi_extra=given.RECORDING_BODY,
)
async def timeline(
    request: Request,
    model: given.ModelName = None,
    address: given.Address = None,
    threshold: given.Threshold = None,
    stay: given.Stay = 0.7,
    median_s: given.Median = 0.9,
    shortest_s: given.Shortest = 0.2,
    gap_s: given.Gap = 0.2,
    step_s: given.Step = 0.1,
    window_s: given.Window = None,
    hop_s: given.Hop = None,
    mode: given.ReadAs = "windows",
    format: given.EventFormat = "json",  # noqa: A002
) -> Response:
    """Say what is heard from when to when, as `audiomamba timeline` does."""
    rule = EventRule(
        threshold=thresholds_of(service_of(request).tagger(model), threshold),
        stay=stay,
        median_s=median_s,
        shortest_s=shortest_s,
        gap_s=gap_s,
    )
    framing = Framing(step_s=step_s, mode=mode, window_s=window_s, hop_s=hop_s)

    def work(tagger: Tagger, received: Received) -> tuple[float, str]:
        found = events_of(tagger, received, framing, rule)
        return found.seconds, events_text(found, tagger.labels, format)

    received = await receive_recording(request, address)
    response = await _answer(request, received, model, work)
    response.headers["content-type"] = MEDIA_TYPES[format]
    return response


@router.post("/v1/embed", responses=given.answers(EMBEDDING), openapi_extra=given.RECORDING_BODY)
async def embed(
    request: Request,
    model: given.ModelName = None,
    address: given.Address = None,
    frames: bool = False,
    step_s: given.Step = 0.1,
) -> Response:
    """Give what a model makes of a recording as a vector, or as one for every step."""
    framing = Framing(step_s=step_s) if frames else None

    def work(tagger: Tagger, received: Received) -> tuple[float, Row]:
        if framing is None:
            vector, seconds = embed_recording(tagger, received.file)
            rows = [vector.tolist()]
        else:
            rows, seconds = _embedded_frames(tagger, received, framing)
        row = {"file": NAME, "seconds": round(seconds, DIGITS), "step_s": None, "embeddings": rows}
        return seconds, row if framing is None else {**row, "step_s": framing.step_s}

    return await _answer(request, await receive_recording(request, address), model, work)


@router.post("/", responses=given.answers(HUB_TAGS), openapi_extra=HUB_BODY)
async def classify(request: Request, model: given.ModelName = None) -> Response:
    """Say what is heard in a recording, in the form of the hub's audio classification."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    tagger, options = service_of(request).tagger(model), TagOptions(top=HUB_TOP)
    if kind == "application/json":
        received, parameters = await receive_json(request)
        try:
            options = _hub_options(parameters, tagger)
        except RefusedError:
            received.close()
            raise
    else:
        received = await receive_recording(request)

    def work(tagger: Tagger, received: Received) -> tuple[float, list[Row]]:
        scored = tagger.score_recording(received.file)
        tags = kept_tags(tagger.ranked(scored.scores), options)
        rows = [tag.to_dict() for tag in tags]
        return scored.seconds, [{"label": row["label"], "score": row["score"]} for row in rows]

    return await _answer(request, received, model, work)


def _hub_options(parameters: dict[str, Any], tagger: Tagger) -> TagOptions:
    """What the hub's parameters ask for."""
    top_k = parameters.get("top_k") or HUB_TOP
    if not isinstance(top_k, int) or top_k < 1:
        message = f"top_k is {top_k!r}; expected a number of at least 1"
        raise RefusedError(HTTPStatus.BAD_REQUEST, "parameters", message)
    function = parameters.get("function_to_apply") or tagger.scored_by
    if function != tagger.scored_by:
        message = f"function_to_apply is {function!r}; expected {tagger.scored_by!r} for this model"
        raise RefusedError(HTTPStatus.BAD_REQUEST, "parameters", message)
    return TagOptions(top=top_k)


def thresholds_of(tagger: Tagger, threshold: float | None) -> PerClass:
    """Choose where events begin: where it was asked for, else where the model says.

    Args:
        tagger: the model.
        threshold: what was asked for; None for nothing.

    Returns:
        One number for all labels, or numbers by label.
    """
    if threshold:
        return threshold
    return tagger.thresholds or DEFAULT_THRESHOLD


def events_of(
    tagger: Tagger, received: Received, framing: Framing, rule: EventRule
) -> RecordingEvents:
    """Find the events of a recording.

    Args:
        tagger: the model.
        received: the recording.
        framing: how it becomes frames.
        rule: how frames become events.

    Returns:
        The events.
    """
    finder = EventFinder(tagger.labels, framing.step_s, rule)
    frames = score_frames(tagger, received.file, framing)
    events = [event for block in frames for event in finder.add(block)]
    events = in_order(events + finder.finish(frames.seconds))
    return RecordingEvents(Path(NAME), frames.seconds, framing.step_s, events)


def events_text(found: RecordingEvents, labels: tuple[str, ...], name: str) -> str:
    """Write events.

    Args:
        found: the events.
        labels: all labels of the model.
        name: of the format.

    Returns:
        The text.
    """
    writer = choose_by_name(EVENT_FORMATS, name)([NAME], labels)
    return writer.header() + writer.lines(found.to_dict())


def _embedded_frames(
    tagger: Tagger, received: Received, framing: Framing
) -> tuple[list[list[float]], float]:
    """The vectors of all steps, and the recording's length."""
    frames = embed_frames(tagger, received.file, framing)
    rows: list[list[float]] = []
    for block in frames:
        rows += block.tolist()
        if len(rows) * block.shape[1] > MOST_NUMBERS:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "numbers",
                f"the answer would hold more than {MOST_NUMBERS} numbers; ask for a longer step_s, "
                "or use `audiomamba embed --frames`",
            )
    return rows, frames.seconds
