"""``flywheel mcp``."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import options_of


def mcp(
    context: typer.Context,
    http: Annotated[bool, typer.Option("--http", help="Listen for clients over HTTP.")] = False,
    host: Annotated[
        str | None, typer.Option(help="The address to listen on, with --http; else http.host.", metavar="ADDRESS")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port, with --http; else http.port. 0: a free one.")
    ] = None,
) -> None:
    """Serve sessions and flows to an MCP client, over stdin and stdout; or to many, over HTTP.

    An MCP client starts this by itself; 'flywheel demo' prints what to put into its settings. With --http it serves
    at http://ADDRESS:PORT/mcp until it is told to stop, and refuses to listen for other machines without
    authentication (http.auth).
    """
    settings = options_of(context).settings()
    if http:
        from msgspec.structs import replace

        from ..mcp_server.http import serve_http

        given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        listening = replace(settings.http, **given)
        serve_http(replace(settings, http=listening), lambda url: typer.echo(f"serving MCP at {url}", err=True))
        return
    if host is not None or port is not None:
        raise typer.BadParameter("--host and --port go with --http")
    from ..mcp_server import serve_stdio

    serve_stdio(settings)
