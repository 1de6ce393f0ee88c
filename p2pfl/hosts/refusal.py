"""What the host itself says no to, and how. Knows HTTP headers and status codes; knows no Party.

Refusals are small JSON, {"code": ..., "detail": ...}; a code names one reason for good (docs/formats/http.md).
"""

import json

from aiohttp import web

from p2pfl.core.limits import BODY_BYTES_MAX
from p2pfl.wire import envelope

RETRY_AFTER_S = 1
LENGTH_MAX = envelope.HEAD_BYTES_MAX + BODY_BYTES_MAX


class Refused(Exception):
    """The host's own refusal of a request, before or beside the Party."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


def check_headers(request: web.BaseRequest) -> None:
    if request.content_length is None:
        raise Refused(411, "length", "expected a Content-Length")
    if "Content-Encoding" in request.headers:
        raise Refused(415, "encoding", "expected no Content-Encoding")
    if request.content_length > LENGTH_MAX:
        raise Refused(413, "too-long", f"expected at most {LENGTH_MAX} bytes")


def headers(status: int, content_type: str | None = None) -> dict[str, str]:
    fields = {"Server": "p2pfl"}
    if content_type is not None:
        fields["Content-Type"] = content_type
    if status == 503:
        fields["Retry-After"] = str(RETRY_AFTER_S)
    return fields


def refusal(refused: Refused) -> web.Response:
    fields = headers(refused.status, "application/json")
    if refused.status == 405:
        fields["Allow"] = refused.detail
    text = json.dumps({"code": refused.code, "detail": refused.detail})
    return web.Response(status=refused.status, body=text.encode(), headers=fields)
