"""The command without a name: pre-initialise a module."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wizer.cli.flags import LETTERS, Flags, from_settings
from wizer.cli.options import STDIO, RunOptions, run_options
from wizer.cli.parse import Arguments, UsageError
from wizer.cli.report import say, worded
from wizer.cli.signals import ignore, watched
from wizer.engine.config import EngineConfig
from wizer.engine.wasi import Wasi
from wizer.errors import OptionError, OutputError, WizerError
from wizer.options import DEFAULT_LIMITS, Changes, ExportChanges, Options
from wizer.output import write_path, write_stream
from wizer.records import replace

if TYPE_CHECKING:
    from wizer.binary.assemble import Chunk
    from wizer.session import Session


def main(arguments: Arguments) -> int:
    """Run `wizer` with ``arguments`` and return the exit status.

    Raises:
        UsageError: the command line makes no sense.
        WizerError: the run failed; nothing is written.
    """
    for section in LETTERS:
        if arguments.last(section) == "help":
            from wizer.cli.settings import render_keys

            print(render_keys(section), end="")
            return 0
    options = run_options(arguments)
    flags = make_flags(options)
    _check_terminals(options)
    _check_output(options.output)
    wasi = make_wasi(options, flags)
    warnings.showwarning = lambda message, *_: say(f"warning: {message}")
    with watched():
        wasm = read(options.input, "failed to open input file")
        _run(options, flags, wasi, wasm)
    return 0


def include_dir() -> int:
    """Print the folder that holds ``wizer.h`` and return the exit status."""
    import wizer

    print(Path(wizer.__file__).parent / "include")
    return 0


def make_flags(options: RunOptions) -> Flags:
    """Join the options and the settings, which go before them."""
    try:
        engine = EngineConfig(
            features=options.features,
            relaxed_simd_deterministic=bool(options.relaxed_simd_deterministic),
        )
        given = {"timeout": options.timeout, "fuel": options.fuel, "max_memory": options.max_memory}
        limits = replace(
            DEFAULT_LIMITS, **{name: bound for name, bound in given.items() if bound is not None}
        )
        inherited = "null" if options.inherit_stdio is False else "inherit"
        wasi = Wasi(
            args=(Path(options.input).name,),
            env=options.env,
            inherit_env=bool(options.inherit_env),
            mapdirs=options.dirs,
            stdin=inherited,
            stdout=inherited,
            stderr=inherited,
        )
        return from_settings(options.settings, engine=engine, limits=limits, wasi=wasi)
    except OptionError as error:
        raise UsageError(str(error), trailer=False) from None


def make_wasi(options: RunOptions, flags: Flags) -> Wasi | None:
    """Return what the guest sees of the host, None for nothing; point out what then has no effect."""
    for warning in options.warnings:
        say(f"warning: {warning}")
    if not (options.allow_wasi or flags.use_wasi):
        idle = [*options.wasi_options]
        idle += [f"-S {key}" for section, key, _ in options.settings if section == "wasi"]
        idle = [option for option in idle if option not in ("-S cli", "-S common")]
        if idle:
            say(f"warning: without --allow-wasi, there is no effect of {', '.join(idle)}")
        return None
    wasi = flags.wasi
    if options.input == STDIO and wasi.stdin == "inherit":
        wasi = replace(wasi, stdin="null")  # the module was all there was
    if options.output in (None, STDIO) and wasi.stdout == "inherit":
        wasi = replace(wasi, stdout="stderr")  # what the guest prints is no part of the module
    return wasi


def make_options(options: RunOptions, flags: Flags, wasi: Wasi | None) -> Options:
    """Return the library's options for what a command line asks for."""
    rest: Changes = {}
    if options.max_data_segments is not None:
        rest["max_data_segments"] = options.max_data_segments
    if options.max_output is not None:
        rest["max_output"] = options.max_output
    if flags.unknown_imports is not None:
        rest["unknown_imports"] = flags.unknown_imports
    return Options(
        init_func=options.init_funcs,
        keep_init_func=options.keep_init_func,
        rename=options.rename,
        preload={name: _read_preload(path) for name, path in options.preload.items()},
        wasi=wasi,
        limits=flags.limits,
        engine=flags.engine,
        deterministic=options.deterministic,
        verify=options.verify,
        open_handles=options.open_handles,
        hard_exit=fail_at_once,
    ).changed(**rest)


def _run(given: RunOptions, flags: Flags, wasi: Wasi | None, wasm: bytes) -> None:
    """Initialise ``wasm`` and write the snapshot."""
    from wizer.session import Session, export_changes

    options = make_options(given, flags, wasi)
    with Session.of(wasm, options) as session:
        changes = export_changes(options)
        changes["rename"] = known_renames(given.rename, session)
        session.initialize(options.init_funcs)
        chunks = _chunks(session, options, changes)
        if given.warn_frozen:
            _warn_frozen(options, wasm)  # first: it takes its time, and what ends it leaves the old output
        _write(chunks, given.output)
        _note_dropped_sections(session)
        for name, results in session.results:
            if results:
                say(f"`{name}` returned {session.shown(name, results)}")


def _chunks(session: Session, options: Options, changes: ExportChanges) -> list[Chunk]:
    """Return the snapshot in pieces, verified where that is asked for."""
    if not options.verify:
        return session.chunks(**changes)
    from wizer.trust.verify import verified

    return [verified(session, **changes)]


def _warn_frozen(options: Options, wasm: bytes) -> None:
    """Say in a line for each source what of it is in the output."""
    from wizer.cli.audit import warnings
    from wizer.trust.audit import audit_with

    for warning in warnings(audit_with(options, wasm, quiet=True)):
        say(f"warning: {warning}")


def known_renames(renames: Mapping[str, str], session: Session) -> dict[str, str]:
    """Return the renames of exports that exist; the Rust tools take the others too, and say nothing."""
    if session.is_component:
        return dict(renames)
    known = {dst: src for dst, src in renames.items() if src in session.module.exports_by_name}
    for dst, src in renames.items():
        if dst not in known:
            say(f"warning: nothing to rename to `{dst}`: the module does not have a `{src}` export")
    return known


def _note_dropped_sections(session: Session) -> None:
    """Name the custom sections that the output lacks."""
    if dropped := session.dropped_sections():
        names = ", ".join(f"`{name}`" for name in dropped)
        say(f"note: the output lacks {names}: they describe the input as a relocatable object")


def fail_at_once(error: BaseException) -> None:
    """End the process from another thread: the guest waits inside the host and does not hear of its limit."""
    say(f"Error: {error}")
    os._exit(1)


def _check_terminals(options: RunOptions) -> None:
    """Refuse to wait for a module to be typed, and to print one."""
    if options.input_missing and os.isatty(0):
        raise UsageError("the following required arguments were not provided:\n  <INPUT>", usage=True)
    if options.output is None and os.isatty(1):
        raise UsageError(
            "the output is binary and standard output is a terminal\n\n"
            "  tip: name a file with '-o <OUTPUT>', or insist with '-o -'",
            usage=True,
        )


def _check_output(output: str | None) -> None:
    """Find out before the run what would keep the output from being written after it."""
    if output in (None, STDIO):
        return
    target = Path(output)
    try:
        if target.is_dir():
            raise _system_error(errno.EISDIR)
        if not target.exists() or target.is_file():  # the file itself will be a new one
            target.parent.joinpath("..").stat()  # looks into the folder, so there has to be one
            if not os.access(target.parent, os.W_OK):
                raise _system_error(errno.EACCES)
    except OSError as error:
        raise OutputError("failed to create output file", [worded(error)]) from None


def read(name: str, failure: str) -> bytes:
    """Read the input; what goes wrong is said in the words of the Rust tools."""
    try:
        if name == STDIO and sys.stdin is None:
            raise _system_error(errno.EBADF)
        with open(0, "rb", closefd=False) if name == STDIO else Path(name).open("rb") as file:
            return file.read()
    except IsADirectoryError as error:
        raise WizerError("failed to read input Wasm module", [worded(error)]) from None
    except OSError as error:
        raise WizerError(failure, [worded(error)]) from None


def _read_preload(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        causes = [f"failed to read from `{path}`", worded(error)]
        raise WizerError("failed to parse preload module", causes) from None


def _write(chunks: Iterable[Chunk], output: str | None) -> None:
    """Write the output to a file, or to standard output."""
    if output not in (None, STDIO):
        write_path(chunks, output, finish=ignore)
        return
    try:
        if sys.stdout is None:
            raise _system_error(errno.EBADF)
        with open(1, "wb", closefd=False) as stream:
            write_stream(chunks, stream)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError("failed to write output file", [worded(error)]) from None


def _system_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))
