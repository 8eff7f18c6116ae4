"""What tells something that was made of an original from anything else, without reading all of it again.

An instrumented module, and a snapshot, are the original's bytes for the most part, in pieces that are views
on it. The original is digested once, on a thread, while it is parsed; of a view, it is enough to know where
in the original it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from wizer.binary.assemble import Chunk
from wizer.engine.addresses import address
from wizer.kept import begin

if TYPE_CHECKING:
    from wizer.engine.cache import Expected

_MUCH: Final = 1 << 20
"""Bytes: less is digested in the time that it takes to start a thread."""


class Original:
    """A module or component in the binary format, and what was made of it.

    Attributes:
        wasm: its bytes.
        expected: what is likely to be made of it, as the cache has it; once a key has been asked for.
    """

    def __init__(self, wasm: bytes) -> None:
        self.wasm = wasm
        self._digest = b""
        self._wait: Callable[[], None] | None = None
        self._name: str | None = None
        self.expected: Expected | None = None

    def begin(self, settings: str) -> None:
        """Begin to digest it on a thread, and to read what was last made of it with these settings."""

        def work() -> None:
            from hashlib import sha256

            from wizer.engine import cache

            self._find_digest()
            self._name = sha256(settings.encode() + self._digest).hexdigest()
            self.expected = cache.expected(self._name)

        if len(self.wasm) >= _MUCH and self._wait is None:
            self._wait = begin(work)

    def expect(self, key: str) -> None:
        """Have what is in the cache under this key be read ahead the next time."""
        if self._name is not None and (self.expected is None or self.expected.key != key):
            from wizer.engine import cache

            cache.expect(self._name, key)

    def key(self, chunks: Sequence[Chunk], settings: str) -> str:
        """Return the key of a module or component in the binary format, in pieces, with these settings."""
        import hashlib

        key = hashlib.sha256(settings.encode())
        is_large, start = len(self.wasm) >= _MUCH, address(self.wasm)
        for chunk in chunks:
            view = memoryview(chunk)
            if is_large and view.obj is self.wasm:
                key.update(b"view %d %d " % (address(view) - start, len(view)))
            else:
                key.update(b"bytes %d " % len(view))
                key.update(view)
        if is_large:
            if self._wait is not None:
                self._wait()
            if not self._digest:
                self._find_digest()
            key.update(self._digest)
        return key.hexdigest()

    def _find_digest(self) -> None:
        import hashlib

        self._digest = hashlib.sha256(self.wasm).digest()
