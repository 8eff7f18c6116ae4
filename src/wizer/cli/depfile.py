"""``--depfile``: what the output was made from, as a rule for Make and Ninja.

Each file also gets a rule of its own that says nothing, as GCC's ``-MP`` writes it: one that is no longer
there means that the output is made anew, and not that nothing can be made.

https://ninja-build.org/manual.html#_depfile
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from wizer.cli.files import STDIO
from wizer.errors import OutputError
from wizer.output import write_path

if TYPE_CHECKING:
    from wizer.cli.options import RunOptions
    from wizer.engine.trace import Trace
    from wizer.engine.wasi import Wasi


def write_depfile(path: str, target: str, files: Iterable[str]) -> None:
    """Write a rule that makes ``target`` depend on ``files``.

    Raises:
        OutputError: it cannot be written, or no rule can have one of the names.
    """
    names = [_escaped(name) for name in dict.fromkeys(files)]
    lines = [" \\\n  ".join([f"{_escaped(target)}:", *names]), *(f"{name}:" for name in names)]
    write_path(["\n".join([*lines, ""]).encode("utf-8", "surrogateescape")], path)


def files_read(options: RunOptions, wasi: Wasi | None, trace: Trace) -> Iterator[str]:
    """Yield the files that the output depends on: those that the guest read are among them."""
    if options.input != STDIO:
        yield options.input
    yield from options.preload.values()
    if options.config is not None:
        yield options.config
    for name in trace.read:
        host = None if wasi is None else wasi.host_path(name)
        if host is not None and host.exists() and not host.is_dir():  # it may have deleted it
            yield str(host)


def _escaped(name: str) -> str:
    """Escape what means something in a rule, as GCC does; a line end cannot be."""
    if "\n" in name or "\r" in name:
        raise OutputError(f"no rule of a depfile can name the file {name!r}: there is a line end in it")
    name = re.sub(r"(\\*)([ \t])", r"\1\1\\\2", name)
    return re.sub(r"([#:])", r"\\\1", name).replace("$", "$$")
