"""Unpacks a file into UTF-8 bytes: from gzip or Zstandard, by its first bytes, and from UTF-16 or UTF-32, as PowerShell
writes it.

The first station of the way back, before `firstword.tuning.json_documents`. Everything is streamed.
"""

from __future__ import annotations

import codecs
import gzip
import sys
import zlib
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_IN_MEMORY = 16 * 2**20
_CHUNK = 2**20
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WITHOUT_BOM = ((b"{\0", "utf-16-le"), (b"[\0", "utf-16-le"), (b"\0{", "utf-16-be"), (b"\0[", "utf-16-be"))
BROKEN = (EOFError, OSError, zlib.error, zstd.ZstdError, UnicodeError)
"""Exceptions that reading from `plain` may raise; `reason` puts them in words."""


@contextmanager
def plain(file: IO[bytes]) -> Generator[IO[bytes]]:
    """Unpacks an open, seekable file, and gives a seekable file of UTF-8 bytes. Raises one of BROKEN."""
    with ExitStack() as stack:
        begin = _peek(file)
        if begin.startswith(_GZIP):
            file = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=file)))
        elif begin.startswith(_ZSTD):
            file = cast("IO[bytes]", stack.enter_context(zstd.ZstdFile(file)))
        begin = _peek(file)
        for mark, encoding in (*_BOMS, *_WITHOUT_BOM):
            if begin.startswith(mark):
                copy = stack.enter_context(SpooledTemporaryFile[bytes](_IN_MEMORY))
                _copy_in_utf8(file, encoding, copy)
                file = copy
                break
        yield file


def reason(error: BaseException) -> str:
    """Returns in words why nothing more can be read, from one of BROKEN."""
    if isinstance(error, UnicodeError):
        return f"its text is cut or is not {error.args[0]}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"its compressed data is cut or damaged ({error})"


def _peek(file: IO[bytes]) -> bytes:
    begin = file.read(4)
    file.seek(0)
    return begin


def _copy_in_utf8(file: IO[bytes], encoding: str, copy: IO[bytes]) -> None:
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    while chunk := file.read(_CHUNK):
        copy.write(decoder.decode(chunk).encode("utf-8", "surrogatepass"))
    copy.write(decoder.decode(b"", final=True).encode("utf-8", "surrogatepass"))
    copy.seek(0)
