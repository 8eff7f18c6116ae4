"""What the fuzzers' command lines have in common."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def parser_of(description: str | None, what: str) -> argparse.ArgumentParser:
    """Return a parser that knows how many of ``what`` to run, which, and where failing ones go."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--runs", type=int, default=1000, help=f"how many {what} (default: 1000)")
    made.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at the same time")
    crashes = Path(__file__).parent / "crashes"
    made.add_argument("--crashes", type=Path, default=crashes, help=f"where failing {what} go")
    made.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return made
