"""Reads a few small files from the start of an image's layer, as it arrives."""

import tarfile
import zlib
from collections.abc import Callable, Iterator

from pykaito.reconcilers.hub.web import quoted

#: Bytes of a file that is kept, at most.
FILE_LIMIT = 16 << 20
#: Bytes of what is said of one file, which is a few hundred; more are passed over.
PAX_LIMIT = 1 << 20
#: Bytes of a layer that are unpacked, at most.
UNPACKED_LIMIT = 256 << 20

_BLOCK = 512
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
#: zlib's number for a gzip header around the data.
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
#: More digits than any size or length has.
_DIGITS = 20
#: Bytes that one step unpacks, at most.
_STEP = 1 << 20


class LayerError(Exception):
    """A layer is in no form that can be read; the message says which."""


class LayerReader:
    """Takes a layer in pieces, keeps the sizes of its files and some contents.

    Args:
        wanted: which files' contents to keep, by their path without a slash first.
        listed: which files' sizes to keep; a layer can have millions of files.
    """

    def __init__(
        self, wanted: Callable[[str], bool], listed: Callable[[str], bool]
    ) -> None:
        #: The bytes of each listed file seen so far, by its path.
        self.sizes: dict[str, int] = {}
        #: What the wanted files hold.
        self.contents: dict[str, bytes] = {}
        #: Whether nothing more is to be had of it.
        self.done = False
        self._wanted = wanted
        self._listed = listed
        self._head = b""
        self._unpack: Callable[[bytes], Iterator[bytes]] | None = None
        self._zlib = zlib.decompressobj(_GZIP_WINDOW)
        self._unpacked = 0
        self._buffer = bytearray()
        self._skip = 0
        # Of the entry whose data comes next: its type, path, and size.
        self._entry: tuple[bytes, str, int] | None = None
        # What a pax header says of the entry after it.
        self._pax: dict[str, str] = {}

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            LayerError: it is compressed with something else than gzip, or no tar.
        """
        if self._unpack is None:
            data = self._head = self._head + data
            if len(data) < len(_ZSTD):
                return
            self._unpack = self._choose(data)
        try:
            for piece in self._unpack(data):
                self._unpacked += len(piece)
                self._buffer += piece
                while not self.done and self._step():
                    pass
                if self._unpacked > UNPACKED_LIMIT:
                    self.done = True
                if self.done:
                    return
        except (zlib.error, tarfile.TarError) as error:
            raise LayerError(f"it is no tar of gzip: {error}") from None

    def _choose(self, data: bytes) -> Callable[[bytes], Iterator[bytes]]:
        if data.startswith(_ZSTD):
            raise LayerError("it is compressed with zstd; use gzip")
        return self._gunzip if data.startswith(_GZIP) else lambda piece: iter([piece])

    def _gunzip(self, data: bytes) -> Iterator[bytes]:
        """Unpack in small steps, since zeros pack a thousandfold."""
        full = False
        while data or full:
            piece = self._zlib.decompress(data, _STEP)
            yield piece
            full = len(piece) == _STEP
            data = self._zlib.unconsumed_tail
            if self._zlib.eof:
                # Some tools write a gzip file for each of the tar's files.
                data = self._zlib.unused_data
                self._zlib = zlib.decompressobj(_GZIP_WINDOW)

    def _step(self) -> bool:
        """Take one header or one entry's data; whether there may be more."""
        if self._skip:
            taken = min(self._skip, len(self._buffer))
            del self._buffer[:taken]
            self._skip -= taken
            return not self._skip
        if self._entry is not None:
            return self._take_data(*self._entry)
        if len(self._buffer) < _BLOCK:
            return False
        block = bytes(self._buffer[:_BLOCK])
        del self._buffer[:_BLOCK]
        if not any(block):
            self.done = True
            return False
        self._take_header(tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape"))
        return True

    def _take_header(self, entry: tarfile.TarInfo) -> None:
        pax, self._pax = self._pax, {}
        name = pax.get("path", entry.name).removeprefix("./").lstrip("/")
        size = _whole(pax.get("size", "")) or entry.size
        if size < 0:
            raise LayerError(f"the file {quoted(name)} has a size of {size}")
        extended = entry.type == tarfile.XHDTYPE
        wanted = entry.isreg() and self._wanted(name)
        if entry.isreg() and self._listed(name):
            self.sizes[name] = size
        if (wanted and size <= FILE_LIMIT) or (extended and size <= PAX_LIMIT):
            self._entry = (entry.type, name, size)
        else:
            self._skip = 0 if _empty(entry) else _padded(size)

    def _take_data(self, kind: bytes, name: str, size: int) -> bool:
        if len(self._buffer) < _padded(size):
            return False
        content = bytes(self._buffer[:size])
        del self._buffer[: _padded(size)]
        self._entry = None
        if kind == tarfile.XHDTYPE:
            self._pax = _records(content)
        else:
            self.contents[name] = content
        return True


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _empty(entry: tarfile.TarInfo) -> bool:
    """Whether an entry has no data, whatever size it names."""
    return entry.islnk() or entry.issym() or entry.isdir() or entry.isdev()


def _whole(text: str) -> int:
    """Return a number that a header holds as text, 0 if it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else 0


def _records(content: bytes) -> dict[str, str]:
    """Return the records of a pax header: each is "LENGTH KEY=VALUE" and a newline."""
    found, start = {}, 0
    while start < len(content):
        number, _, _ = content[start : start + _DIGITS].partition(b" ")
        end = start + _whole(number.decode(errors="replace"))
        if not start + len(number) < end <= len(content):
            break
        key, _, value = content[start + len(number) + 1 : end - 1].partition(b"=")
        found[key.decode(errors="replace")] = value.decode(errors="replace")
        start = end
    return found
