"""The page and its files: all of them come from this package."""

import secrets
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from audiomamba.serve.gate import CONTENT_SECURITY

__all__ = ["FOLDER", "files", "router"]

FOLDER = Path(__file__).parent / "page"
NONCE = "NONCE-OF-THIS-ANSWER"  # stands in the page where the styles of wavesurfer.js are allowed

router = APIRouter()


@router.get("/", include_in_schema=False)
async def page() -> HTMLResponse:
    """Give the page; what it may load is only what the server has."""
    nonce = secrets.token_urlsafe(16)
    text = (FOLDER / "index.html").read_text("utf-8").replace(NONCE, nonce)
    policy = CONTENT_SECURITY.replace("style-src 'self'", f"style-src 'self' 'nonce-{nonce}'")
    headers = {"content-security-policy": policy, "cache-control": "no-store"}
    return HTMLResponse(text, headers=headers)


def files() -> StaticFiles:
    """Make what answers with the page's files.

    Returns:
        To be mounted at /page.
    """
    return StaticFiles(directory=FOLDER)
