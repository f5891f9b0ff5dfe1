"""How excerpts of videos are named by the tools that fetch them."""

__all__ = ["excerpt_names"]


def excerpt_names(video: str, start_s: float, end_s: float) -> tuple[str, ...]:
    """List the names that the recording of an excerpt may have.

    Args:
        video: the video's id.
        start_s: where the excerpt begins.
        end_s: where it ends.

    Returns:
        Names without suffix: the id alone, with a Y before it, or with the times after it, in whole
        seconds, in seconds with three decimals, or in milliseconds.
    """
    start, end = round(start_s), round(end_s)
    return (
        f"Y{video}",
        video,
        f"{video}_{start:06d}",
        f"{video}_{start}",
        f"{video}_{start}_{end}",
        f"{video}_{start_s:.3f}_{end_s:.3f}",
        f"{video}_{round(start_s * 1000)}",
        f"{video}_{round(start_s * 1000)}_{round(end_s * 1000)}",
        f"Y{video}_{start_s:.3f}_{end_s:.3f}",
    )
