"""Make the shell completions and the manual page from what the commands print for ``--help``.

    python share/generate.py

writes ``wizer.bash``, ``_wizer`` (zsh), ``wizer.fish`` and ``wizer.1`` beside this file; the wheel installs
them where shells and `man` look. The help is the one source: what it does not say cannot be completed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from wizer.cli.spec import REFUSED

FOLDER = Path(__file__).parent
RUN = ""  # the command without a name

_OPTION = re.compile(r"^ +(?:-(\w), +)?--([\w-]+)(?:\[=(\S+?)\]| (\S+))?(?: {2,}(.*)|$)")
_COMMAND = re.compile(r"^  ([a-z]+)(?: .*?)?(?: {2,}(.*))$")
_FILES = ("FILE", "OUTPUT", "INPUT", "NAME=FILE")
_FOLDERS = ("HOST[::GUEST]", "DIR", "FOLDER")


@dataclass(frozen=True)
class Flag:
    """One option as the help has it: ``values`` are the words it takes, where they are a few."""

    long: str
    short: str
    metavar: str
    attached: bool
    about: str

    @property
    def values(self) -> list[str]:
        if self.metavar == "BOOL":
            return ["true", "false"]
        return self.metavar.split("|") if re.fullmatch(r"[\w-]+(\|[\w-]+)+", self.metavar) else []

    @property
    def takes(self) -> str:
        """What the word behind it is: files, folders, words or something other; empty where none is."""
        if not self.metavar or self.attached:
            return ""
        if self.values:
            return "words"
        return "files" if self.metavar in _FILES else "folders" if self.metavar in _FOLDERS else "other"


@dataclass(frozen=True)
class Command:
    """A command: its name, what it does, its options, and its help."""

    name: str
    about: str
    flags: tuple[Flag, ...]
    help: str


def printed(*words: str) -> str:
    """Return what `wizer` prints for some words."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "wizer", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def unwrapped(text: str) -> list[str]:
    """Return the lines of a help text, each with what it goes on with further right."""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and lines[-1].startswith("  ") and re.match(r" {20,}\S", line):
            gap = "  " if re.fullmatch(r" +(-\w, +)?--[^ ]+( [^ ]+)?", lines[-1]) else " "
            lines[-1] += gap + line.strip()
        else:
            lines.append(line)
    return lines


def flags(text: str) -> tuple[Flag, ...]:
    """Return the options that a help text lists."""
    found = []
    for line in unwrapped(text):
        option = _OPTION.match(line)
        if option is not None:
            short, long, attached, metavar, about = option.groups(default="")
            found.append(Flag(long, short, attached or metavar, bool(attached), about))
    return tuple(found)


def commands() -> list[Command]:
    """Return all commands; the one without a name is the first."""
    help_ = printed("--help")
    run = Command(RUN, "", flags(help_), help_)
    listed = help_[help_.index("\nCommands:\n") :].split("\n\n")[0]
    found = [run]
    for line in unwrapped(listed):
        named = _COMMAND.match(line)
        if named is not None:
            text = printed(named[1], "--help")
            own = flags(text)
            if "beside those of a run" in text:
                known = {flag.long for flag in own} | set(REFUSED.get(named[1], ()))
                own += tuple(flag for flag in run.flags if flag.long not in known)
            found.append(Command(named[1], named[2], own, text))
    return found


def bash(every: list[Command]) -> str:
    """Return the completion for bash."""
    names = " ".join(command.name for command in every[1:])
    cases = []
    for command in every:
        options = " ".join(f"--{flag.long}" + "=" * flag.attached for flag in command.flags)
        cases.append(f'        {command.name or "*"}) options="{options}" ;;')
    cases.append(cases.pop(0))  # `*` is the last one
    takes: dict[str, list[str]] = {}
    for flag in _distinct(every):
        words = [f"--{flag.long}"] + [f"-{flag.short}"] * bool(flag.short)
        action = {
            "files": "_wizer_files; return",
            "folders": 'COMPREPLY=($(compgen -d -- "$word")); return',
            "words": f'COMPREPLY=($(compgen -W "{" ".join(flag.values)}" -- "$word")); return',
            "other": "return",
        }.get(flag.takes)
        if action:
            takes.setdefault(action, []).extend(words)
    arms = "\n".join(f"        {'|'.join(words)}) {action} ;;" for action, words in takes.items())
    return f"""# Completion of `wizer` for bash; made by share/generate.py.

_wizer_files() {{
    compopt -o filenames 2>/dev/null
    COMPREPLY+=($(compgen -f -- "$word"))
}}

_wizer() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} options
    COMPREPLY=()
    case $before in
{arms}
    esac
    case ${{COMP_WORDS[1]}} in
{chr(10).join(cases)}
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
        [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace 2>/dev/null
        return
    fi
    ((COMP_CWORD == 1)) && COMPREPLY=($(compgen -W "{names}" -- "$word"))
    _wizer_files
}}

complete -F _wizer wizer
"""


def zsh(every: list[Command]) -> str:
    """Return the completion for zsh."""
    blocks = []
    for command in every[1:]:
        lines = " \\\n".join(f"        {word}" for word in _zsh_arguments(command))
        blocks.append(f"    {command.name})\n      _arguments -s -S \\\n{lines}\n      ;;")
    run = " \\\n".join(f"        {word}" for word in _zsh_arguments(every[0]))
    listed = "\n".join(f"      {_quoted(f'{c.name}:{c.about}')}" for c in every[1:])
    cases = "\n".join(blocks)
    return f"""#compdef wizer
# Completion of `wizer` for zsh; made by share/generate.py.

_wizer_first() {{
  local -a commands=(
{listed}
  )
  _describe command commands
  _files
}}

_wizer() {{
  local command=${{words[2]}}
  case $command in
{cases.replace(chr(10) + "      _arguments", chr(10) + "      shift words; (( CURRENT-- )); _arguments")}
    *)
      _arguments -s -S \\
{run}
      ;;
  esac
}}

_wizer "$@"
"""


def _zsh_arguments(command: Command) -> list[str]:
    """Return a command's arguments as `_arguments` takes them."""
    words = []
    for flag in command.flags:
        about = flag.about.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
        value = ""
        if flag.metavar:
            does = {"files": "_files", "folders": "_files -/", "other": ""}.get(flag.takes, "")
            if flag.values:
                does = f"({' '.join(flag.values)})"
            value = f":{flag.metavar.replace(':', ' ').replace('[', '').replace(']', '')}:{does}"
        equals = "=-" if flag.attached else "=" if flag.metavar else ""
        optional = value and flag.attached
        names = [f"--{flag.long}{equals}"]
        if flag.short:
            names.append(f"-{flag.short}" + ("+" if flag.metavar else ""))
        words += [_quoted(f"*{name}[{about}]{':' * bool(optional)}{value}") for name in names]
    if command.name == RUN:
        return [*words, "'1: :_wizer_first'", "'*:file:_files'"]
    return [*words, "'*:file:_files'"]


def fish(every: list[Command]) -> str:
    """Return the completion for fish."""
    names = " ".join(command.name for command in every[1:])
    lines = ["# Completion of `wizer` for fish; made by share/generate.py.", ""]
    for command in every[1:]:
        lines.append(
            f"complete -c wizer -n __fish_is_first_token -a {command.name} -d {_quoted(command.about)}"
        )
    for command in every:
        seen = f"__fish_seen_subcommand_from {command.name or names}"
        condition = _quoted(seen if command.name else f"not {seen}")
        for flag in command.flags:
            line = f"complete -c wizer -n {condition} -l {flag.long}"
            line += f" -s {flag.short}" if flag.short else ""
            if flag.takes == "words":
                line += f" -x -a {_quoted(' '.join(flag.values))}"
            elif flag.takes == "folders":
                line += " -x -a '(__fish_complete_directories)'"
            elif flag.takes:
                line += " -r" if flag.takes == "files" else " -x"
            lines.append(f"{line} -d {_quoted(flag.about)}")
    return "\n".join(lines) + "\n"


def man(every: list[Command]) -> str:
    """Return the manual page."""
    about = every[0].help.splitlines()[0].partition(",")[2].strip()
    lines = [
        f'.\\" Made by share/generate.py.\n.TH WIZER 1 "" "{printed("--version").strip()}" "User Commands"',
        f".SH NAME\nwizer \\- {about}",
        ".SH SYNOPSIS\n.B wizer\n[OPTIONS] [INPUT] [\\-\\- ARGS]",
    ]
    lines += [f".br\n.B wizer {command.name}" for command in every[1:]]
    for command in every:
        lines.append(f".SH {('wizer ' + command.name).upper() if command.name else 'DESCRIPTION'}")
        lines.append(f".nf\n{_roff(command.help.rstrip())}\n.fi")
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Return text that the typesetter takes as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in escaped.splitlines())


def _distinct(every: list[Command]) -> list[Flag]:
    """Return the options of all commands; two of one name take the same."""
    return list({flag.long: flag for command in reversed(every) for flag in command.flags}.values())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


MAKERS = {"wizer.bash": bash, "_wizer": zsh, "wizer.fish": fish, "wizer.1": man}


def main() -> None:
    """Write all files."""
    every = commands()
    for name, maker in MAKERS.items():
        (FOLDER / name).write_text(maker(every), "utf-8")


if __name__ == "__main__":
    main()
