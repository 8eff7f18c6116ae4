"""What tells something that was made of an original from anything else, without reading all of it again.

An instrumented module, and a snapshot, are the original's bytes for the most part, in pieces that are views
on it. The original is digested once, on a thread, while it is parsed; of a view, it is enough to know where
in the original it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from wizer.binary.assemble import Chunk
from wizer.engine.addresses import address
from wizer.kept import alone, begin

if TYPE_CHECKING:
    from wizer.engine.cache import Expected

LARGE: Final = 1 << 20
"""Bytes: less is digested in the time that it takes to start a thread."""


class Original:
    """A module or component in the binary format, and what was made of it.

    Attributes:
        wasm: its bytes.
        expected: what is likely to be made of it, as the cache has it; once a key has been asked for.
    """

    def __init__(self, wasm: bytes) -> None:
        self.wasm = wasm
        self.expected: Expected | None = None
        self._digest = b""
        self._name: str | None = None
        self._wait: Callable[[], None] | None = None

    @classmethod
    def ahead(cls, read: Callable[[], bytes], settings: str) -> Callable[[], Original]:
        """Read a large original on a thread, and go on as `begin` does; return what waits for its bytes."""
        original, has_bytes = cls(b""), threading.Event()

        def work() -> None:
            try:
                original.wasm = read()
            finally:
                has_bytes.set()
            original._find_expected(settings)

        _import_for_thread()
        original._wait = begin(work)

        def wait() -> Original:
            has_bytes.wait()
            if not original.wasm and original._wait is not None:
                original._wait()  # raises what reading did
            return original

        return wait

    def begin(self, settings: str) -> None:
        """Begin to digest it on a thread, and to read what was last made of it with these settings."""
        if self.is_large and self._wait is None and alone():
            _import_for_thread()
            self._wait = begin(lambda: self._find_expected(settings))

    @property
    def is_large(self) -> bool:
        """Whether it takes longer to read it all again than to say what of it something is made of."""
        return len(self.wasm) >= LARGE

    def _find_expected(self, settings: str) -> None:
        from hashlib import sha256

        from wizer.engine import cache

        self._digest = sha256(self.wasm).digest()
        self._name = sha256(settings.encode() + self._digest).hexdigest()
        self.expected = cache.expected(self._name)

    def expect(self, key: str) -> None:
        """Have what is in the cache under this key be read ahead the next time."""
        if self._name is not None and (self.expected is None or self.expected.key != key):
            from wizer.engine import cache

            cache.expect(self._name, key)

    def key(self, chunks: Sequence[Chunk], settings: str) -> str:
        """Return the key of a module or component in the binary format, in pieces, with these settings."""
        import hashlib

        key = hashlib.sha256(settings.encode())
        start = address(self.wasm)
        for chunk in chunks:
            view = memoryview(chunk)
            if self.is_large and view.obj is self.wasm:
                key.update(b"view %d %d " % (address(view) - start, len(view)))
            else:
                key.update(b"bytes %d " % len(view))
                key.update(view)
        if self._wait is not None:
            self._wait()
        if self.is_large:
            self._digest = self._digest or hashlib.sha256(self.wasm).digest()
            key.update(self._digest)
        return key.hexdigest()


def _import_for_thread() -> None:
    """Import what is used on the thread; a process that is forked in such an import waits for it for ever."""
    import hashlib  # noqa: F401

    import wizer.engine.cache  # noqa: F401
