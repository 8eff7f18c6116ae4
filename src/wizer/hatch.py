"""A build hook for Hatch: snapshots in one's own wheel.

In ``pyproject.toml``::

    [build-system]
    requires = ["hatchling", "wizer"]
    build-backend = "hatchling.build"

    [tool.hatch.build.hooks.wizer]
    targets = ["app"]            # all, where nothing is said

    [tool.wizer.snapshots.app]   # or in wizer.toml
    input = "app.wasm"
    output = "src/package/app.wasm"

What is not up to date is made before files are collected, and belongs to the wheel where its output is in one
of the packages, whatever ``.gitignore`` says of it.

https://hatch.pypa.io/latest/plugins/build-hook/reference/
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

from wizer.batch import config, plan
from wizer.batch.build import build
from wizer.checks import TEXTS, refuse
from wizer.errors import OptionError, WizerError


class WizerBuildHook(BuildHookInterface[BuilderConfig]):
    """Makes snapshots before a wheel or a source distribution is built."""

    PLUGIN_NAME = "wizer"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Make what is not up to date, and have Hatch take it.

        Args:
            version: of the target; all are built alike.
            build_data: what Hatch knows of the build; outputs become artifacts.

        Raises:
            OptionError: the file or the hook's table makes no sense.
            WizerError: a snapshot was not made; each is named.
        """
        root = Path(self.root)
        targets = self.config.get("targets", [])
        if not TEXTS.holds(targets):
            refuse("targets", targets, TEXTS.expected)
        path = config.find(root)
        if path is None:
            raise OptionError(
                f"there is no {config.FILE} in {root}, and no [tool.wizer] in {config.PYPROJECT}"
            )
        jobs = plan.jobs(config.read(path), root, targets)
        with ThreadPoolExecutor(os.cpu_count()) as executor:
            results = list(build(jobs, executor))
        failed = [f"{result.job}: {result.error}" for result in results if result.error is not None]
        if failed:
            raise WizerError(f"{len(failed)} of {len(results)} snapshots were not made", failed)
        build_data["artifacts"] += [f"/{result.output.relative_to(root).as_posix()}" for result in results]


@hookimpl
def hatch_register_build_hook() -> type[WizerBuildHook]:
    """Say which hook ``[tool.hatch.build.hooks.wizer]`` is."""
    return WizerBuildHook
