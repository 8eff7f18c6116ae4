"""The output appears whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pytest

from support.command import environment
from wizer import OptionError, OutputError, Session
from wizer.output import _after, write_path, write_stream

if TYPE_CHECKING:
    from typing_extensions import Buffer

WAT = (
    '(module (memory 2) (func (export "init") (memory.fill (i32.const 0) (i32.const 7) (i32.const 100000))))'
)


def snapshot_to(output: Path) -> int:
    with Session(WAT) as session:
        session.call("init")
        return session.write(output)


def leftovers(folder: Path, *known: str) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in known)


def test_a_new_file_gets_the_permissions_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    size = snapshot_to(tmp_path / "out.wasm")
    assert (tmp_path / "out.wasm").stat().st_size == size
    assert (tmp_path / "out.wasm").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert leftovers(tmp_path, "plain", "out.wasm") == []


def test_an_old_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    output = tmp_path / "out.wasm"
    output.write_bytes(b"old")
    output.chmod(0o751)
    snapshot_to(output)
    assert stat.S_IMODE(output.stat().st_mode) == 0o751
    assert output.read_bytes()[:4] == b"\0asm"


def test_an_open_reader_of_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    output = tmp_path / "out.wasm"
    output.write_bytes(b"old contents")
    with output.open("rb") as reader:
        snapshot_to(output)
        assert reader.read() == b"old contents"


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    target = tmp_path / "target" / "real.wasm"
    target.write_bytes(b"old")
    link = tmp_path / "link.wasm"
    link.symlink_to("target/real.wasm")
    snapshot_to(link)
    assert link.is_symlink()
    assert target.read_bytes()[:4] == b"\0asm"
    assert leftovers(tmp_path / "target", "real.wasm") == []


def test_a_dangling_link_gets_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link.wasm"
    link.symlink_to(tmp_path / "new.wasm")
    snapshot_to(link)
    assert link.is_symlink()
    assert (tmp_path / "new.wasm").read_bytes()[:4] == b"\0asm"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="failed to write the output") as error:
        snapshot_to(tmp_path / "nowhere" / "out.wasm")
    assert error.value.causes == ("No such file or directory",)


def test_the_output_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as error:
        snapshot_to(tmp_path)
    assert error.value.causes == ("Is a directory",)
    assert leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "out.wasm").write_bytes(b"old")
    folder.chmod(0o555)
    program = (
        "import os, sys\n"
        "from wizer.output import write_path\n"  # before the change: the package may be root's alone
        "if os.getuid() == 0: os.setuid(65534)\n"  # to root, no folder is locked
        "write_path([b'new'], sys.argv[1])"
    )
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:2]:
        parent.chmod(0o755)
    run = subprocess.run(
        [sys.executable, "-c", program, str(folder / "out.wasm")],
        env=environment(),
        capture_output=True,
        check=False,
        text=True,
    )
    folder.chmod(0o755)
    assert "wizer.errors.OutputError: failed to write the output" in run.stderr
    assert "Permission denied" in run.stderr
    assert (folder / "out.wasm").read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk() -> None:
    with pytest.raises(OutputError) as error:
        snapshot_to(Path("/dev/full"))
    assert error.value.causes == ("No space left on device",)


def test_a_file_that_may_not_grow_so_large_leaves_nothing_behind(tmp_path: Path) -> None:
    output = tmp_path / "out.wasm"
    output.write_bytes(b"old")
    program = (
        "import resource, signal, sys\n"
        "from wizer.output import write_path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "write_path([bytes(5_000)] * 4, sys.argv[1])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(output)],
        env=environment(),
        capture_output=True,
        check=False,
        text=True,
    )
    assert "wizer.errors.OutputError" in run.stderr
    assert "File too large" in run.stderr
    assert output.read_bytes() == b"old"
    assert leftovers(tmp_path, "out.wasm") == []


def test_what_fails_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    output = tmp_path / "out.wasm"
    output.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_path(chunks(), output)
    assert output.read_bytes() == b"old"
    assert leftovers(tmp_path, "out.wasm") == []


def test_a_pipe_is_written_to_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert write_path([b"abc", memoryview(b"def")], pipe) == 6
        assert os.read(reader, 100) == b"abcdef"
    finally:
        os.close(reader)
    assert leftovers(tmp_path, "pipe") == []


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    output = tmp_path / ("n" * 250 + ".wasm")
    assert write_path([b"x"], output) == 1
    assert output.read_bytes() == b"x"


def test_a_stream_gets_every_chunk(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stream:
        assert write_stream([b"", b"abc", memoryview(bytearray(b"def"))], stream) == 6
    assert (tmp_path / "out").read_bytes() == b"abcdef"


class Trickle(io.RawIOBase):
    """A stream without a buffer, which takes 1,000 bytes at once."""

    def __init__(self) -> None:
        self.contents = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        taken = bytes(memoryview(data)[:1000])
        self.contents += taken
        return len(taken)


def test_a_stream_that_takes_only_some_bytes_at_once_gets_all() -> None:
    stream = Trickle()
    assert write_stream([b"start", bytes(range(256)) * 30], cast(BinaryIO, stream)) == 7685
    assert stream.contents == b"start" + bytes(range(256)) * 30


def test_chunks_of_all_sizes_arrive_in_order(tmp_path: Path) -> None:
    sizes = [*range(1500), 0, 0, 1 << 20, 3, (1 << 20) + 1, 0, *[7] * 5000]
    chunks = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    views = [memoryview(chunk) if number % 2 else chunk for number, chunk in enumerate(chunks)]
    assert write_path(views, tmp_path / "out") == sum(sizes)
    assert (tmp_path / "out").read_bytes() == b"".join(chunks)
    assert write_path([b"", b""], tmp_path / "empty") == 0
    assert (tmp_path / "empty").read_bytes() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
@pytest.mark.parametrize("size", [10, 1 << 21])
def test_a_write_that_is_cut_short_goes_on(tmp_path: Path, size: int) -> None:
    program = """
import resource, signal, sys
from wizer import OutputError
from wizer.output import write_path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))
try:
    write_path([b"abc" * int(sys.argv[2])], sys.argv[1])
except OutputError as error:
    print(error.causes[0])
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out"), str(size)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert ended.stdout == "File too large\n", ended.stderr
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("done", range(7))
def test_what_is_left_of_chunks(done: int) -> None:
    left = _after([b"ab", b"", b"cde", memoryview(b"f")], done)
    assert b"".join(left) == b"abcdef"[done:]


AS_NOBODY = """
import os, sys
from wizer.output import write_path  # while whoever runs the tests can read it
if os.geteuid() == 0:
    os.setuid(65534)
write_path([b"new"], sys.argv[1])
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that anybody can come to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def write_as_nobody(output: Path) -> subprocess.CompletedProcess[str]:
    """Write as somebody whom permissions hold for."""
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(output)],
        env=environment(),
        capture_output=True,
        check=False,
        text=True,
    )


def test_a_file_that_may_not_be_written_to_is_not_replaced(public: Path) -> None:
    output = public / "out.wasm"
    output.write_bytes(b"old")
    output.chmod(0o444)
    public.chmod(0o777)
    run = write_as_nobody(output)
    assert "wizer.errors.OutputError: failed to write the output" in run.stderr
    assert "Permission denied" in run.stderr
    assert output.read_bytes() == b"old"
    assert leftovers(public, "out.wasm") == []


@pytest.mark.parametrize("old", [b"", b"longer than the new one"])
def test_a_file_in_a_closed_folder_is_written_to(old: bytes, public: Path) -> None:
    folder = public / "closed"
    folder.mkdir()
    output = folder / "out.wasm"
    output.write_bytes(old)
    output.chmod(0o666)
    folder.chmod(0o555)
    before = output.stat().st_ino
    run = write_as_nobody(output)
    assert run.returncode == 0, run.stderr
    assert output.read_bytes() == b"new"
    assert output.stat().st_ino == before
    assert leftovers(folder, "out.wasm") == []
    folder.chmod(0o755)


def test_a_file_that_something_is_mounted_on_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.wasm"
    output.write_bytes(b"old contents")
    before = output.stat().st_ino

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(Path, "replace", busy)
    assert write_path([b"new"], output) == 3
    assert output.read_bytes() == b"new"
    assert output.stat().st_ino == before
    assert leftovers(tmp_path, "out.wasm") == []


def test_an_interrupt_leaves_a_file_that_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.wasm"
    output.write_bytes(b"old")

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wizer.output._new_file", refused)
    with pytest.raises(KeyboardInterrupt):
        write_path([b"something new"], output, finish=interrupted)
    assert output.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["new/", "new/.", ".", "a\0b", "half \udc80\ud800 a character"])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError) as error:
        write_path([b"new"], f"{tmp_path}/{name}")
    assert str(error.value)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("output", [3, None, io.StringIO(), object()])
def test_what_cannot_be_written_to(output: Any) -> None:
    with Session(WAT) as session, pytest.raises(OptionError, match="`output` takes a path or a stream of by"):
        session.write(output)


def test_a_name_that_is_too_long_is_found_before_the_run_on_every_python(tmp_path: Path) -> None:
    program = """
import os, pathlib, sys
for name in ("exists", "is_dir", "is_file"):  # as they are from Python 3.14 on
    setattr(pathlib.Path, name, lambda self, name=name: getattr(os.path, name.replace("_", ""))(self))
from wizer.output import check_target
try:
    check_target(sys.argv[1])
except OSError as error:
    print(error.errno)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / ("x" * 300))],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    assert ended.stdout == f"{errno.ENAMETOOLONG}\n"
