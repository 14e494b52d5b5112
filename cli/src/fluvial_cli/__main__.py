"""The ``fluvial`` command."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from fluvial.errors import FluvialError
from fluvial_cli import demo as demo_command
from fluvial_cli import dev as dev_command

__all__ = ["app", "main"]

app = typer.Typer(
    name="fluvial",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="GitOps controllers that speak the Flux API.",
)

_ControlPlane = Annotated[
    str,
    typer.Option(
        metavar="devcluster|real|KUBECONFIG",
        help="The embedded API server, the real one built by `make control-plane`, or a cluster.",
    ),
]


@app.command()
def dev(
    *,
    control_plane: _ControlPlane = "devcluster",
    controllers: Annotated[str, typer.Option(metavar="all|none|NAMES")] = "all",
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Where to write the admin kubeconfig.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep logs and artifacts here instead of a temporary folder."),
    ] = None,
    request_log: Annotated[
        Path | None, typer.Option(help="Write every API request as a JSON line.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep the cluster and a Git repository in this folder, and go on from there.",
        ),
    ] = None,
) -> None:
    """Run a cluster with the controllers until Ctrl-C."""
    options = dev_command.DevOptions(
        control_plane=control_plane,
        controllers=dev_command.controllers_of(controllers),
        kubeconfig=kubeconfig,
        folder=folder,
        request_log=request_log,
        state=state,
    )
    raise typer.Exit(asyncio.run(dev_command.run(options)))


@app.command()
def demo(
    control_plane: _ControlPlane = "devcluster",
    request_log: Annotated[
        Path | None, typer.Option(help="Write every API request as a JSON line.")
    ] = None,
) -> None:
    """Show the main job: commit, apply as the tenant, prune, refuse, recover."""
    options = dev_command.DevOptions(control_plane=control_plane, request_log=request_log)
    raise typer.Exit(asyncio.run(demo_command.run(options)))


def main() -> None:
    """Entry point: errors that a person can act on have no stack trace."""
    try:
        app()
    except FluvialError as error:
        sys.stderr.write(f"fluvial: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
