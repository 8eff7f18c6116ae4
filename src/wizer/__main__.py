"""``python -m wizer`` is `wizer`."""

from __future__ import annotations

from wizer.cli import run_process

if __name__ == "__main__":
    run_process()
