"""`/` and `/ui/`: what a browser finds here.

`/` sends it to `/ui/`, whose whole subtree is one line until there is a page. Unknown paths end up
at `/` too (it is a subtree like any other) and are 404 without a body.

Where it comes from (public API): Nomad's `handleRootFallthrough` and its page for builds without a
UI.
"""

from __future__ import annotations

from .request import Request
from .responses import Response, empty_response, html_response, redirect_response

_PAGE = "<html><p>Nomad UI is disabled</p></html>"


def answer_root(request: Request) -> Response:
    """Redirect `/` itself; everything else nobody has."""
    if request.path != "/":
        return empty_response(404)
    location = "/ui/" + ("?" + request.query if request.query else "")
    return redirect_response(request.method, 307, location)


def answer_ui(request: Request) -> Response:
    """Answer with the page, on any path below and with any method."""
    return html_response(_PAGE)
