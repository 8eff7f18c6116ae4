"""The directive ``command-help``: what a command prints for ``--help``.

::

    ```{command-help} audit
    ```
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class CommandHelp(Directive):
    """The help of a command; without a name, of `wizer` itself."""

    optional_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the help as a literal block; an error if the command has none."""
        words = [sys.executable, "-m", "wizer", *self.arguments, "--help"]
        environment = {**os.environ, "COLUMNS": "88", "NO_COLOR": "1"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise self.error(f"`wizer {' '.join(words[3:])}` ends with {done.returncode}: {done.stderr}")
        return [nodes.literal_block(text=done.stdout.rstrip(), language="text")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
