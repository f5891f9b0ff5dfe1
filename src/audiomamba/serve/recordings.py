"""The addresses that the page draws an open recording from."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from audiomamba.infer import EventRule
from audiomamba.infer.results import RecordingEvents
from audiomamba.serve import parameters as given
from audiomamba.serve.answers import MEDIA_TYPES, events_text, thresholds_of
from audiomamba.serve.drawing import COLUMNS_PER_S, LEVEL_FACTOR, N_BANDS, TILE_COLUMNS
from audiomamba.serve.opened import Opened
from audiomamba.serve.received import Received
from audiomamba.serve.refusal import RefusedError
from audiomamba.serve.service import service_of
from audiomamba.serve.uploads import receive_recording

__all__ = ["router"]

FOR_EVER = {"cache-control": "private, max-age=3600"}
FILE_NAMES = {
    "json": "events.json",
    "csv": "events.csv",
    "audacity": "labels.txt",
    "rttm": "events.rttm",
}
MOST_LANES = 40
STATE = {
    "id": "q0bG7bqfPzFyPvS0",
    "is_complete": True,
    "error": "",
    "seconds": 12.0,
    "step_s": 0.1,
    "labels": [{"label": "Dog", "score": 0.71}],
    "columns_per_s": 50,
    "bands": 64,
    "tile_columns": 512,
    "level_factor": 4,
    "levels": [600, 150],
}

router = APIRouter(prefix="/v1/recordings", tags=["page"])
Labels = Annotated[list[str], Query(description="Labels; repeatable.", max_length=MOST_LANES)]
Bins = Annotated[int, Query(ge=1, le=8000, description="Scores of each label, at most.")]
LabelsIfAny = Annotated[list[str] | None, Query(description="Only these labels; repeatable.")]


@router.post("", status_code=202, openapi_extra=given.RECORDING_BODY)
async def open_recording(request: Request, model: given.ModelName = None) -> JSONResponse:
    """Open a recording: it is analyzed and kept until it is closed, or unused for half an hour."""
    service = service_of(request)
    tagger = service.tagger(model)
    received = await receive_recording(request)
    n_bytes = received.file.seek(0, 2)
    received.file.seek(0)
    try:
        service.spool.take(n_bytes)  # the request ends before the analysis does
    except RefusedError:
        received.close()
        raise
    kept = Received(received.file, lambda: service.spool.give_back(n_bytes))
    return JSONResponse(_state(service.opened.open(tagger, kept)), 202)


@router.get("/{name}", responses={200: {"content": {"application/json": {"example": STATE}}}})
async def state(request: Request, name: str) -> JSONResponse:
    """Say how far the analysis is, and what is heard: all labels, the highest score first."""
    return JSONResponse(_state(service_of(request).opened.get(name)))


@router.delete("/{name}", status_code=204)
async def close_recording(request: Request, name: str) -> Response:
    """Close a recording: nothing of it is kept."""
    service_of(request).opened.close(name)
    return Response(status_code=204)


@router.get("/{name}/peaks")
def peaks(request: Request, name: str) -> Response:
    """Give the waveform: for each column its lowest and highest sample, as signed bytes."""
    data = _complete(request, name).waveform()
    return Response(data, media_type="application/octet-stream", headers=FOR_EVER)


@router.get("/{name}/tiles/{level}/{index}")
def tile(request: Request, name: str, level: int, index: int) -> Response:
    """Draw a part of the spectrogram, as PNG."""
    picture = _complete(request, name).tile(level, index)
    if picture is None:
        raise RefusedError(HTTPStatus.NOT_FOUND, "tile", "there is no such tile")
    return Response(picture, media_type="image/png", headers=FOR_EVER)


@router.get("/{name}/lanes")
def lanes(request: Request, name: str, label: Labels, bins: Bins = 2000) -> JSONResponse:
    """Give the scores of some labels over time: the highest in each of so many equal parts."""
    scores = _complete(request, name).lanes(label, bins)
    return JSONResponse(dict(zip(label, scores.round(4).tolist(), strict=True)))


@router.get("/{name}/events")
def events(
    request: Request,
    name: str,
    threshold: given.Threshold = None,
    median_s: given.Median = 0.9,
    label: LabelsIfAny = None,
    format: given.EventFormat = "json",  # noqa: A002
) -> Response:
    """Give the events of an open recording, as /v1/timeline does."""
    opened = _complete(request, name)
    rule = EventRule(threshold=thresholds_of(opened.tagger, threshold), median_s=median_s)
    found = opened.events(rule)
    kept = [event for event in found.events if label is None or event.label in label]
    shown = RecordingEvents(found.file, found.seconds, found.step_s, kept)
    headers = {"content-disposition": f'attachment; filename="{FILE_NAMES[format]}"'}
    text = events_text(shown, opened.tagger.labels, format)
    return Response(text, media_type=MEDIA_TYPES[format], headers=headers)


def _complete(request: Request, name: str) -> Opened:
    """A recording whose analysis is complete."""
    opened = service_of(request).opened.get(name)
    if not opened.is_complete:
        raise RefusedError(HTTPStatus.CONFLICT, "recording", "the analysis is not complete")
    return opened


def _state(opened: Opened) -> dict[str, Any]:
    """What the page asks for first."""
    highest = zip(opened.tagger.labels, opened.highest.round(4).tolist(), strict=True)
    ranked = sorted(highest, key=lambda one: -one[1])
    return {
        "id": opened.name,
        "is_complete": opened.is_complete,
        "error": opened.error,
        "seconds": round(opened.seconds, 6),
        "step_s": opened.step_s,
        "labels": [{"label": label, "score": score} for label, score in ranked],
        "columns_per_s": COLUMNS_PER_S,
        "bands": N_BANDS,
        "tile_columns": TILE_COLUMNS,
        "level_factor": LEVEL_FACTOR,
        "levels": opened.spectrogram.n_columns,
    }
