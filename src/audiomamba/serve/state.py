"""The addresses that answer about the server itself."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from audiomamba.serve.metrics import CONTENT_TYPE
from audiomamba.serve.service import service_of

__all__ = ["router"]

MODELS = [
    {
        "name": "general",
        "sample_rate": 32000,
        "window_s": 10.0,
        "labels": ["Speech", "Dog"],
        "thresholds": {"Speech": 0.3, "Dog": 0.2},
    }
]

router = APIRouter(tags=["server"])


@router.get("/v1/models", responses={200: {"content": {"application/json": {"example": MODELS}}}})
async def models(request: Request) -> JSONResponse:
    """List the models, the default first, with the labels that they show."""
    return JSONResponse(
        [
            {
                "name": name,
                "sample_rate": tagger.front_end.sample_rate,
                "window_s": tagger.front_end.clip_s,
                "labels": list(tagger.labels),
                "thresholds": tagger.thresholds,
            }
            for name, tagger in service_of(request).taggers.items()
        ]
    )


@router.get("/health")
async def health() -> PlainTextResponse:
    """Say that the server is alive."""
    return PlainTextResponse("alive\n")


@router.get("/ready", responses={503: {"description": "The models are not warm yet."}})
async def ready(request: Request) -> PlainTextResponse:
    """Say whether the models are warm."""
    if service_of(request).is_warm:
        return PlainTextResponse("ready\n")
    return PlainTextResponse("warming up\n", 503, {"retry-after": "1"})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Give all counts in the form that Prometheus reads."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE)
