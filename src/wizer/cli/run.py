"""The command without a name: pre-initialise a module."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wizer.cli.files import STDIO, check_output, is_large, read, write
from wizer.cli.flags import LETTERS
from wizer.cli.options import RunOptions, make_flags, make_options, make_wasi, run_options
from wizer.cli.parse import Arguments, UsageError
from wizer.cli.report import remark
from wizer.cli.signals import watched
from wizer.cli.spec import BY_NAME
from wizer.errors import OptionError, check_numpy

if TYPE_CHECKING:
    from wizer.binary.assemble import Chunk
    from wizer.cli.account import Account
    from wizer.cli.flags import Flags
    from wizer.engine.original import Original
    from wizer.options import ExportChanges, Options
    from wizer.pages.document import RunInfo
    from wizer.session import Session
    from wizer.trust.findings import Audit


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
    given = run_options(arguments)
    if given.depfile is not None and given.output in (None, STDIO):
        raise UsageError(f"'{BY_NAME['depfile'].display}' needs '--output': a rule is about a file")
    flags = make_flags(given)
    _check_terminals(given)
    check_output(given.output)
    check_output(given.precompile)
    check_output(given.depfile)
    if given.report is not None:
        from wizer.cli.pages import check_report

        check_report(given.report)
    _check_places(given)
    _check_numpy(given)
    if not (given.verbose or given.depfile or given.report):
        return _main(given, flags, None)
    from wizer.cli.account import Account

    with Account() as account:
        return _main(given, flags, account)


def _main(given: RunOptions, flags: Flags, account: Account | None) -> int:
    wasi = make_wasi(given, flags)
    warnings.showwarning = lambda message, *_: remark(f"warning: {message}")
    with watched(flags.limits, wasi):
        options = make_options(given, flags, wasi)
        if account is not None:
            options = options.changed(trace=account.trace)
        original = _begin_to_read(given, options)
        import wizer.session  # noqa: F401

        _run(given, options, original(), account)
    return 0


def _begin_to_read(given: RunOptions, options: Options) -> Callable[[], Original]:
    """Begin to read the input, on a thread where it is large; return what waits for that."""
    from wizer.engine.original import Original

    word = [f"no command is called `{given.input}`: `wizer --help` lists them"] * given.input.isalpha()
    reading = partial(read, given.input, "failed to open input file", missing=word)
    if options.config.cache is True and is_large(given.input):
        return Original.ahead(reading, options.cache_settings)
    return lambda: Original(reading())


def include_dir() -> int:
    """Print the folder that holds ``wizer.h`` and return the exit status."""
    import wizer

    print(Path(wizer.__file__).parent / "include")
    return 0


def _run(given: RunOptions, options: Options, original: Original, account: Account | None) -> None:
    """Initialise a module or component and write the snapshot, and what an account says of that."""
    from wizer.session import Session, export_changes

    wasm = original.wasm
    with Session.of(wasm, options, original) as session:
        _check_calls(session, options)
        changes = export_changes(session, options)
        changes["rename"] = known_renames(given.rename, session)
        session.initialize(session.calls(options))
        chunks = _chunks(session, options, changes)
        # What takes its time comes first: whatever ends it leaves the old output.
        audit = _warn_frozen(options, wasm) if given.warn_frozen else None
        if account is not None and given.depfile is not None and given.output is not None:
            from wizer.cli.depfile import files_read, write_depfile

            write_depfile(given.depfile, given.output, files_read(given, options.wasi, account.trace))
        if account is not None and given.report is not None:
            output = b"".join(chunks)
            _report(given.report, account.info(given, options, session, output), wasm, output, audit)
        write(chunks, given.output)
        _note_dropped_sections(session)
        for name, results in session.results:
            if results:
                remark(f"`{name}` returned {session.shown(name, results)}")
        if account is not None and given.verbose:
            for line in account.lines(options, session, wasm, b"".join(chunks)):
                remark(line)


def _check_calls(session: Session, options: Options) -> None:
    """Refuse what is neither an export of this name nor a call; only the module tells."""
    for text in session.calls(options):
        try:
            session.called_name(text)
        except OptionError as error:
            display = BY_NAME["init-func"].display
            raise UsageError(f"invalid value '{text}' for '{display}': {error}") from None


def _chunks(session: Session, options: Options, changes: ExportChanges) -> list[Chunk]:
    """Return the snapshot in pieces, verified and compiled where that is asked for."""
    from wizer.session import compiled_ahead

    if not options.verify:
        return compiled_ahead(session.chunks(**changes), options)
    from wizer.trust.verify import verified

    return compiled_ahead(verified(session, **changes), options)


def _report(path: str, run: RunInfo, wasm: bytes, output: bytes, audit: Audit | None) -> None:
    """Write a report on a run: what it made of what."""
    from wizer.cli.pages import write_report
    from wizer.contents.comparison import diff_binaries
    from wizer.contents.inspection import inspect_binary
    from wizer.engine.text import to_binary

    source = to_binary(wasm)
    names = run["input"], run["output"]
    write_report(
        path,
        "run",
        f"{names[0]}, initialised",
        [inspect_binary(source, names[0]), inspect_binary(output, names[1])],
        diff=diff_binaries(source, output, names).to_dict(),
        audit=None if audit is None else audit.to_dict(),
        run=run,
    )


def _check_numpy(given: RunOptions) -> None:
    """Raise `WizerError` now, and not after the run, where what is to be said of the output takes numpy."""
    if given.report is not None or given.warn_frozen or given.verify:
        check_numpy()


def _warn_frozen(options: Options, wasm: bytes) -> Audit:
    """Say in a line for each source what of it is in the output; return what was found."""
    from wizer.cli.findings import warnings
    from wizer.trust.audit import audit_with

    audit = audit_with(options, wasm, quiet=True)
    for warning in warnings(audit):
        remark(f"warning: {warning}")
    return audit


def known_renames(renames: Mapping[str, str], session: Session) -> dict[str, str]:
    """Return the renames of exports that exist; the Rust tools take the others too, and say nothing."""
    if session.is_component:
        return dict(renames)
    known = {dst: src for dst, src in renames.items() if src in session.module.exports_by_name}
    for dst, src in renames.items():
        if dst not in known:
            remark(f"warning: nothing to rename to `{dst}`: the module does not have a `{src}` export")
    return known


def _note_dropped_sections(session: Session) -> None:
    """Name the custom sections that the output lacks."""
    if dropped := session.dropped_sections():
        names = ", ".join(f"`{name}`" for name in dropped)
        remark(f"note: the output lacks {names}: they describe the input as a relocatable object")


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


def _check_places(options: RunOptions) -> None:
    """Refuse to write two things to one file, or anything but the snapshot over what is read."""
    named = {name: getattr(options, name) for name in ("output", "precompile", "depfile", "report")}
    places: dict[str, str] = {}
    for name, path in named.items():
        if path in (None, STDIO) or (Path(path).exists() and not Path(path).is_file()):
            continue
        other = places.setdefault(os.path.realpath(path), name)
        if other != name:
            displays = f"'{BY_NAME[name].display}' and '{BY_NAME[other].display}'"
            raise UsageError(f"{displays} name one file, {path}")
    for path in (options.input, *options.preload.values()):
        if places.get(os.path.realpath(path), "output") != "output":
            display = BY_NAME[places[os.path.realpath(path)]].display
            raise UsageError(f"'{display}' names what is read, {path}")
