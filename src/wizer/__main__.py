"""``python -m wizer`` is `wizer`."""

from __future__ import annotations

import sys

from wizer.cli import main

if __name__ == "__main__":
    sys.exit(main())
