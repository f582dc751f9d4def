"""A request's body, read as long as it is within its limit."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request

from prerank.web.errors import AnswerError


async def read_body(request: Request, most: int) -> bytes:
    """The whole body.

    Args:
        request: whose body has not been read yet.
        most: bytes; a longer one is refused before the rest of it is read.

    Raises:
        AnswerError: if it is too long, or ends early.
    """
    said = request.headers.get("content-length", "0")
    if said.isdigit() and int(said) > most:
        raise _too_long(most)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise _too_long(most)
            chunks.append(chunk)
    except ClientDisconnect:
        raise AnswerError(HTTPStatus.BAD_REQUEST, "The body ended early.") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_long(most: int) -> AnswerError:
    # The rest of the body is not read, so that the connection cannot go on.
    return AnswerError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {most} bytes.", {"Connection": "close"}
    )
