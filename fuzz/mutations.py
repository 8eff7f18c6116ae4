"""How inputs are changed: validly, or as careless tools and bad disks do."""

from __future__ import annotations

import os
import random
import subprocess

from support.tools import wasm_tools


def mutate(wasm: bytes, seed: int) -> bytes | None:
    """Change a module into another valid one; None: the tool cannot."""
    tool = wasm_tools()
    assert tool is not None
    command = [tool, "mutate", "--seed", str(seed), "--fuel", "1000", "-"]
    run = subprocess.run(
        command, input=wasm, capture_output=True, check=False, env={**os.environ, "RUST_BACKTRACE": "0"}
    )
    return run.stdout if run.returncode == 0 else None


def change_bytes(wasm: bytes, rng: random.Random) -> bytes:
    """Change, repeat, insert or cut bytes, as careless tools and bad disks do."""
    data = bytearray(wasm)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not data:
            break
        at = rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x40, 0x0B, 0x70))
            case 2:
                data[at:at] = rng.choice(
                    (b"\x80\x00", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
                )
            case 3:
                data[at : at + rng.randint(1, 8)] = b""
            case 4:
                end = at + rng.randint(1, 40)
                data[at:at] = data[at:end]
            case 5:
                del data[at:]
    return bytes(data)


def change_in_place(wasm: bytes, rng: random.Random) -> bytes:
    """Change one or two bytes and no size: most of what comes out is read to its end, and some is valid."""
    data = bytearray(wasm)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(data))
        was = data[at]
        data[at] = rng.choice(
            (0, 1, 2, 3, 0x7F, was ^ 1 << rng.randrange(8), (was + 1) & 0xFF, (was - 1) & 0xFF)
        )
    return bytes(data)
