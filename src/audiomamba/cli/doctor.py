"""`audiomamba doctor`."""

import typer

__all__ = ["EXAMPLES", "doctor"]

EXAMPLES = "Examples:\n\n`audiomamba doctor`"


def doctor() -> None:
    """Say what this installation can do, what it lacks, and how to mend it."""
    from audiomamba.doctor import examine

    area = ""
    for finding in examine():
        if finding.area != area:
            typer.echo(f"{'' if not area else chr(10)}{finding.area}")
            area = finding.area
        mark = {"ok": " ", "slow": "!", "missing": "-"}[finding.state]
        typer.echo(f"{mark} {finding.name:<30}{finding.value}")
        if finding.advice:
            typer.echo(f"{'':<32}-> {finding.advice}")
