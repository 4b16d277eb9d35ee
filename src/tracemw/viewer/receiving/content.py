"""The content of a trace request: its Content-Type, and its Content-Encoding, which is undone here."""

from __future__ import annotations

import zlib

from tracemw.viewer.receiving.refusals import RefusalError, too_large

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
ENCODINGS = ("identity", "gzip", "deflate")

_GZIP_MEMBERS = 1024  # of one body. Most have one. Each member costs time, and an empty one has only 20 bytes
_PIECE_BYTES = 64 * 1024  # inflated at a time: zlib copies the rest of its input at the end of each member


def parse_media_type(content_type: str | None) -> str:
    """Return the media type of a trace request, without parameters.

    Raises:
        RefusalError: with 415, for a type that OTLP does not know.
    """
    name = (content_type or "").partition(";")[0].strip().lower()
    if name not in (PROTOBUF, JSON):
        raise RefusalError(415, f"content-type {name[:64] or '(none)'!r} is not accepted; send {PROTOBUF} or {JSON}")
    return name


def parse_encoding(content_encoding: str | None) -> str:
    """Return the content encoding in lower case; ``identity`` for none.

    Raises:
        RefusalError: with 415, for an unknown encoding.
    """
    encoding = (content_encoding or "").strip().lower() or "identity"
    if encoding not in ENCODINGS:
        raise RefusalError(415, f"content-encoding {encoding[:64]!r} is not accepted; send {', '.join(ENCODINGS)}")
    return encoding


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo one of `ENCODINGS`. A zip bomb stays small: inflating ends at ``limit`` bytes.

    Raises:
        RefusalError: with 400, for a body that is not so encoded; with 413, for one beyond the limit.
    """
    plain = body if encoding == "identity" else _inflate(body, encoding, limit)
    if len(plain) > limit:
        raise too_large(limit)
    return plain


def _inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Inflate all gzip members (RFC 1952 allows several), or the one zlib stream of ``deflate`` (RFC 9110, 8.4.1.2)."""
    wbits = 31 if encoding == "gzip" else 15
    parts: list[bytes] = []
    room = limit + 1
    members = 1
    inflater = zlib.decompressobj(wbits)
    for start in range(0, len(body), _PIECE_BYTES):
        piece = body[start : start + _PIECE_BYTES]
        while piece:
            if inflater.eof:
                members += 1
                if members > _GZIP_MEMBERS:
                    raise RefusalError(413, f"body has more than {_GZIP_MEMBERS} gzip members: send one")
                inflater = zlib.decompressobj(wbits)
            try:
                parts.append(inflater.decompress(piece, room))
            except zlib.error as error:
                raise RefusalError(400, f"body is not {encoding}: {error}") from None
            room -= len(parts[-1])
            if room <= 0:
                raise too_large(limit)
            piece = inflater.unused_data
    if not inflater.eof:
        raise RefusalError(400, f"body is cut off: its {encoding} stream does not end")
    return b"".join(parts)
