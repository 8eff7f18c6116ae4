"""Scripts of random calls: what a seed stands for; see `calls.py`."""

from __future__ import annotations

import random

BATCH = 100
"""Scripts to a process."""

_MODULES = (
    "PLAIN",
    "GC",
    "HOST",
    "STARTS",
    "IMPORTS",
    "MEMORIES",
    "SHARED",
    "WASI",
    "COMPONENT",
    "COMPONENT_OF_HOST",
)
_CALLS: dict[str, tuple[str, ...]] = {
    "PLAIN": ("'add', 3", "'spin', 20000", "'grow', 1", "'grow', 39", "'more', 2", "'read', 3",
    "'read', -1", "'trap'",
              "'deep'", "'drop'", "'ref'", "'_initialize'", "'put', 1, None", "'at', 1",
              "'many', 1, 2, 3.0, 4.0, bytes(16), None, None", "'m'", "'wizer-initialize'",
              "'many', 1, 2, 3.0, 4.0, 5, None, Keeper(lambda: s0.call('add', 3))"),
    "GC": ("'new'", "'array', 70000", "'i31'", "'any', None", "'out'", "'in', 'x'",
    "'in', Keeper(lambda: s0.call('new'))", "'any', s0.call('array', 5)", "'exn'", "'rethrow', None",
           "'wizer-initialize'", "'array', -1"),
    "HOST": ("'go', 0", "'go', 1", "'go', 2", "'n'", "'x', 'y'", "'x', Keeper(lambda: s0.call('go', 0))",
    "'r'", "'grow', 1", "'hot', 50", "'wizer-initialize'"),
    "STARTS": ("'go', 0", "'go', 1"),
    "IMPORTS": ("'go', 0", "'go', 1", "'set', 3"),
    "MEMORIES": ("'grow', 1", "'grow', 8", "'fill'"),
    "SHARED": ("'grow', 1", "'add', 3"),
    "WASI": ("'say'", "'warn'", "'exit', 3", "'exit', -1", "'wizer-initialize'"),
    "COMPONENT": ("'add', 3", "'get'", "'trap'", "'text', 'hi'", "'text', '\\ud800'", "'text', 5",
    "'wizer-initialize'"),
    "COMPONENT_OF_HOST": ("'go', 0", "'go', 1", "'go', 2", "'wizer-initialize'"),
}  # fmt: skip
_OPTIONS = (
    "limits=Limits(timeout=20)", "limits=Limits(fuel=100000)", "limits=Limits(timeout=0.05)",
    "limits=Limits()",
    "limits=Limits(max_memory=70000)", "wasi=Wasi()", "wasi=Wasi(stdout='null', stdin=b'abc')",
    "deterministic=True", "deterministic='x'", "deterministic=Deterministic(seed=3)",
    "engine=EngineConfig(compiler='cranelift')", "engine=EngineConfig(cache=False)", "layout='small'",
    "layout='instant'", "max_data_segments=2", "max_output=100", "unknown_imports='default'",
    "unknown_imports='error'", "initialize=False", "preload={'e': PLAIN}", "preload={'e': TEXT}",
    "hard_exit=None",
)  # fmt: skip
_OPTION_NAMES = (
    "limits", "wasi", "deterministic", "engine", "layout", "max_data_segments", "max_output",
    "unknown_imports",
    "initialize", "preload", "hard_exit", "trace", "nosuch", "init_func", "rename", "keep_init_func",
    "verify",
    "precompile", "open_handles", "imports",
)  # fmt: skip
_CHANGES = (
    "remove=['add']", "keep=['_initialize']", "rename={'new': 'add'}", "rename={'add': 'm'}",
    "remove=['nosuch']",
    "rename={'\\ud800': 'add'}", "remove='add'", "keep={'go'}", "rename={'a': 'add', 'b': 'add'}",
    "rename={'m': 'm'}",
    "remove=['add'], keep=['add']", "remove=['m', 'm']",
)  # fmt: skip
_WHOLE = ("init_func", "rename", "keep_init_func", "verify", "precompile")
_SEEN = ("args", "env", "dirs", "mapdirs", "stdin", "stdout")
_GLOBALS = ("i", "l", "s", "d", "v", "c", "x", "fn", "g", "e", "nosuch", "m", "\\ud800")
_FOREIGN = ("memory", "table", "global", "func", "dead", "module", "store", "closed")


class Maker:
    """Makes a script; knows what it has named so far."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"calls {seed}")
        self.lines: list[str] = []
        self.named: dict[str, list[str]] = {}
        self.kinds: dict[str, str] = {}
        self.forks = not checks_memory(seed)

    def make(self) -> list[str]:
        """Return the lines."""
        for module in self.rng.sample(_MODULES, self.rng.choice((1, 1, 2))):
            name = self.new("s")
            self.kinds[name] = module
            self.line(name, f"Session({module}, imports={self.host(module, 2)})")
        for _ in range(self.rng.randint(4, 24)):
            self.line(*self.action())
        return self.lines

    def line(self, name: str, expression: str) -> None:
        """Add a line, which may name its result."""
        self.lines.append(f"{name} = {expression}" if name else expression)

    def new(self, kind: str) -> str:
        """Name something new, or something else."""
        known = self.named.setdefault(kind, [])
        if known and self.rng.random() < 0.2:
            return self.rng.choice(known)
        known.append(f"{kind}{len(known)}")
        return known[-1]

    def any(self, kind: str) -> str:
        """Return the name of something of a kind; ``None`` where there is nothing."""
        return self.rng.choice(self.named.get(kind) or ["None"])

    def value(self) -> str:
        """Return any argument."""
        kind = self.rng.choice(("odd", "odd", "odd", "odd", "odd", "result", "foreign", "session", "keeper"))
        if kind == "keeper":
            return f"Keeper({self.function()})"
        if kind == "result" and "r" in self.named:
            return self.any("r")
        if kind == "foreign":
            return self.foreign()
        if kind == "session":
            return self.any("s")
        return f"VALUES[{self.rng.randrange(48)}]"

    def foreign(self) -> str:
        """Return something of the engine's package."""
        store = self.rng.choice(("", "", f", {self.any('s')}.store"))
        what = self.rng.choice(_FOREIGN if not store else _FOREIGN[:4])
        return f"foreign({what!r}{store})"

    def options(self) -> str:
        """Return options, with a comma before each."""
        chosen = []
        for _ in range(self.rng.choice((0, 0, 1, 1, 2))):
            if self.rng.random() < 0.85:
                chosen.append(self.rng.choice(_OPTIONS))
            elif self.rng.random() < 0.3:
                chosen.append(f"wasi=Wasi({self.rng.choice(('stdout', 'stderr'))}=sink({self.function()}))")
            else:
                chosen.append(f"{self.rng.choice(_OPTION_NAMES)}={self.value()}")
        unique = {option.partition("=")[0]: option for option in chosen}
        return "".join(f", {option}" for option in unique.values())

    def changes(self) -> str:
        """Return how exports change."""
        if self.rng.random() < 0.5:
            return ""
        if self.rng.random() < 0.3:
            return f"{self.rng.choice(('remove', 'keep', 'rename', 'nosuch'))}={self.value()}"
        return self.rng.choice(_CHANGES)

    def host(self, module: str, count: int) -> str:
        """Return functions for a module or component to import, which do something."""
        functions = ", ".join(self.function() for _ in range(count))
        return f"host({functions})" + "['e']" * module.startswith("COMPONENT")

    def imports(self, module: str) -> str:
        """Return imports."""
        chance = self.rng.random()
        if chance < 0.6:
            return self.host(module, self.rng.randint(0, 3))
        if chance < 0.8:
            item = self.rng.choice(("m", "t", "g", "f", "x", "n"))
            given = self.rng.choice((self.value(), self.foreign(), self.foreign()))
            return f"{{'e': {{{item!r}: {given}}}}}"
        if chance < 0.9:
            return f"{{'e': {self.rng.choice(_MODULES)}}}"
        return self.value()

    def function(self) -> str:
        """Return a function that does something, or raises."""
        if self.rng.random() < 0.25:
            return f"raiser({self.rng.randrange(18)})"
        return f"lambda: {self.action()[1]}"

    def open(self) -> tuple[str, str]:
        """Open a session."""
        module = self.rng.choice(_MODULES)
        name = self.new("s")
        self.kinds[name] = module
        options = self.options()
        if module == "WASI" and "wasi=" not in options:
            stdout = self.rng.choice(("'null'", f"sink({self.function()})"))
            options += f", wasi=Wasi(stdout={stdout}, stderr='null')"
        if "imports=" not in options and (
            module in ("HOST", "STARTS", "IMPORTS", "COMPONENT_OF_HOST") or self.rng.random() < 0.1
        ):
            options += f", imports={self.imports(module)}"
        return name, f"Session({module}{options})"

    def action(self) -> tuple[str, str]:
        """Do something."""
        weights = {
            self.call: 10, self.open: 3, self.use: 4, self.view: 4, self.globals: 3, self.freeze: 4,
            self.close: 3,
            self.thread: 2, self.instrument: 2, self.whole: 1, self.copied: 1,
            self.fork: 0.3 * self.forks, self.forget: 1,
            self.store: 1,
        }  # fmt: skip
        return self.rng.choices([*weights], [*weights.values()])[0]()

    def call(self) -> tuple[str, str]:
        """Call a function of the guest's."""
        session = self.any("s")
        known = _CALLS.get(self.kinds.get(session, ""), ("'f'",))
        chance = self.rng.random()
        if chance < 0.6:
            arguments = self.rng.choice(known)
        elif chance < 0.85:
            count = self.rng.choice((0, 1, 1, 2, 7))
            name = self.rng.choice(known).split(",")[0]
            arguments = ", ".join([name, *(self.value() for _ in range(count))])
        else:
            return "", f"{session}.call_text({self.rng.choice((self.value(), self.text()))})"
        return self.new("r"), f"{session}.call({arguments})"

    def text(self) -> str:
        """Return a call as text."""
        texts = ("add(3)", "add", "add(", "add)", "x(1,2)", "", "read(0x10)", "many(1,2,3,4,5,6,7)",
            "text(\"x\")",
                 "add(nan)", "add(9999999999999)", "go(1)", "(((((", "add({)", "text(\"\\u{110000}\")",
                 "'", '"',
                 "go(1", "new", "array(5)", "add(" + "1" * 5000 + ")",
                 "text(" + "(" * 3000 + ")")  # fmt: skip
        return repr(self.rng.choice(texts))

    def use(self) -> tuple[str, str]:
        """Ask a session something."""
        session = self.any("s")
        asked = (
            "state()",
            "states()",
            "dropped_sections()",
            "has_run('_initialize')",
            f"has_run({self.value()})",
            "results.clear()",
            "module",
            "is_component",
            "store",
            f"shown({self.value()}, {self.value()})",
            "shown('add', (1,))",
            "shown('get', (1,))",
            f"initialize({self.value()})",
            "initialize(['add(1)'])",
            f"beside({self.value()})",
            "beside(PLAIN)",
            "rebuilt([])",
            "rebuilt(z0)",
            f"rebuilt({self.value()})",
            "__enter__()",
            f"Session.of({self.any('s')}, {self.value()})"[8:],
        )
        chosen = self.rng.choice(asked)
        if chosen == "state()":
            return self.new("x"), f"[{session}.state()]"
        if chosen == "rebuilt(z0)":
            chosen = f"rebuilt({self.any('x')})"
        return ("", f"{session}.{chosen}")

    def view(self) -> tuple[str, str]:
        """Take or use a view of a memory."""
        if "v" not in self.named or self.rng.random() < 0.4:
            which = self.rng.choice(("", "", "'m'", "'a'", "'nosuch'", self.value()))
            return self.new("v"), f"{self.any('s')}.memory({which})"
        view = self.any("v")
        uses = (f"bytes({view})", f"{view}[0]", f"{view}[-1]", f"{view}.__setitem__(5, 5)",
            f"{view}.release()",
                f"{view}.__setitem__(slice(0, 3), b'abc')",
                f"{view}.__setitem__({self.value()}, {self.value()})",
                f"{view}.tobytes()", f"len({view})", f"hash({view})", f"{view}.cast('I')")  # fmt: skip
        if self.rng.random() < 0.2:
            return self.new("v"), f"{view}[100:200]"
        return "", self.rng.choice(uses)

    def globals(self) -> tuple[str, str]:
        """Get or set a global."""
        all_ = f"{self.any('s')}.globals"
        name = self.rng.choice(_GLOBALS)
        uses = (f"{all_}['{name}']", f"dict({all_})", f"{all_}.__delitem__('{name}')", f"len({all_})",
            f"list({all_})",
                f"{all_}[{self.value()}]", f"{all_}.get({self.value()})", f"{all_}.pop('{name}')",
                f"{all_}.clear()",
                f"{all_}.update(VALUES[43])", f"'{name}' in {all_}", f"{all_} == {all_}")  # fmt: skip
        if self.rng.random() < 0.5:
            return "", f"{all_}.__setitem__('{name}', {self.value()})"
        chosen = self.rng.choice(uses)
        return (self.new("r"), chosen) if chosen.endswith(f"['{name}']") else ("", chosen)

    def freeze(self) -> tuple[str, str]:
        """Take a snapshot, one way or another."""
        session, changes = self.any("s"), self.changes()
        kind = self.rng.choice(
            ("snapshot", "snapshot", "snapshot", "chunks", "write", "write", "precompile", "join")
        )
        if kind == "snapshot":
            return self.new("w"), f"{session}.snapshot({changes})"
        if kind == "chunks":
            return self.new("c"), f"{session}.chunks({changes})"
        if kind == "join":
            return "", f"b''.join({self.any('c')})"
        outputs = ("'out.wasm'", "Path('out.wasm')", "io.BytesIO()", "io.StringIO()", "'.'", "''",
            "'no/such'",
                   "'a\\0b'", "'\\ud800'", "'/dev/null'", "'/dev/full'",
                   "open('/dev/full', 'wb', buffering=0)",
                   "open('/dev/null', 'rb')", "Output(None)", "Output(0)", "Output(-1)", "Output(10**9)",
                   "Output('x')",
                   f"Output({self.function()})", f"Output({self.value()})", self.value())  # fmt: skip
        output = self.rng.choice(outputs)
        return "", f"{session}.{kind}({output}{', ' if changes else ''}{changes})"

    def close(self) -> tuple[str, str]:
        """Close a session, or leave its block."""
        session = self.any("s")
        return "", self.rng.choice(
            (f"{session}.close()", f"{session}.__exit__(None, None, None)", f"{session}.close()")
        )

    def thread(self) -> tuple[str, str]:
        """Do something on another thread, or wait for all of them."""
        return "", "finish()" if self.rng.random() < 0.3 else f"begin(lambda: {self.action()[1]})"

    def fork(self) -> tuple[str, str]:
        """Do something in another process."""
        action = "instance_of"  # the engine's package waits for threads there that are none of the child's
        while "instance_of" in action:
            action = self.action()[1]
        return "", f"forked(lambda: {action})"

    def forget(self) -> tuple[str, str]:
        """Let go of something."""
        kind = self.rng.choice((*self.named, "s"))
        name = self.any(kind)
        return (name, "None") if name != "None" and self.rng.random() < 0.7 else ("", "collect()")

    def copied(self) -> tuple[str, str]:
        """Copy or pickle something."""
        kind = self.rng.choice(("s", "s", "r", "x", "q", "i"))
        name = self.any(kind)
        how = self.rng.choice(("copy.copy({})", "copy.deepcopy({})", "pickle.loads(pickle.dumps({}))",
        "repr({})",
                               "hash({})", "{0} == {0}", "dir({})", "vars({})"))  # fmt: skip
        return self.new(kind) if how.startswith("copy") else "", how.format(name)

    def store(self) -> tuple[str, str]:
        """Use a session's store with the engine's package."""
        store = f"{self.any('s')}.store"
        uses = (
            f"{store}.gc()",
            f"{store}.close()",
            f"{store}.set_fuel(5)",
            f"{store}.get_fuel()",
            f"{store}.set_epoch_deadline(0)",
            f"{store}.set_limits(0)",
            f"{store}.set_limits(memory_size=-1)",
            f"{store}.engine.increment_epoch()",
            f"instance_of(PLAIN, {store})",
            f"foreign('func', {store})",
        )
        return "", self.rng.choice(uses)

    def instrument(self) -> tuple[str, str]:
        """Prepare a module for an engine of the script's, or freeze an instance of one."""
        if "q" not in self.named or self.rng.random() < 0.2:
            module = self.rng.choice((*_MODULES, self.value()))
            return self.new("q"), f"Instrumented({module}{self.options()})"
        if "i" not in self.named or self.rng.random() < 0.4:
            wasm = self.rng.choice(
                (f"{self.any('q')}.wasm", f"{self.any('q')}.wasm", self.rng.choice(_MODULES))
            )
            store = self.rng.choice(
                ("", "", f", {self.any('s')}.store", ", foreign('store')", f", {self.any('i')}[0]")
            )
            return self.new("i"), f"instance_of({wasm}{store})"
        store = self.rng.choice(
            (f"{self.any('i')}[0]", f"{self.any('s')}.store", self.foreign(), self.value())
        )
        instance = self.rng.choice((f"{self.any('i')}[1]", f"{self.any('i')}[1]", self.value()))
        pair = self.rng.choice((f"*{self.any('i')}", f"*{self.any('i')}", f"{store}, {instance}"))
        imported = self.rng.choice(("", "", ", capture_imports=[('memory', 0)]",
                                    f", capture_imports={self.value()}",
                                    ", capture_imports=[('memory', 9), ('x', 'y')]"))  # fmt: skip
        changes = self.changes()
        comma = ", " if changes else ""
        return self.new("w"), f"{self.any('q')}.snapshot({pair}{imported}{comma}{changes})"

    def whole(self) -> tuple[str, str]:
        """Do all in one call."""
        module = self.rng.choice((*_MODULES, *_MODULES, "TEXT", self.any("w"), self.value()))
        imports = f", imports={self.imports(module)}" if module in ("HOST", "STARTS", "IMPORTS") else ""
        options = self.options() if not imports else ""
        if self.rng.random() < 0.3 and not any(name in options for name in _WHOLE):
            options += ", " + self.rng.choice(
                (
                    "init_func='nosuch'",
                    "init_func=[]",
                    "init_func='add(3)'",
                    "verify=True",
                    "keep_init_func=True",
                    "rename={'x': 'add'}",
                    "precompile='p'",
                )
            )
        calls = (f"wizen({module}{imports}{options})", f"wizen({module}{imports}{options})",
                 f"verify({module}, {self.any('w')}{imports}{options})",
                 f"audit({module}{imports}{options})",
                 f"Wizer({options[2:]}).run({module})",
                 f"Wizer({options[2:]}).write({module}, io.BytesIO())",
                 f"Wizer({options[2:]}).instrument({module})",
                 f"Wizer({options[2:]}).session({module}{imports})",
                 f"load({self.value()})", "load('out.wasm')", "load('p')",
                 f"Limits(timeout={self.value()})",
                 f"Wasi({self.rng.choice(_SEEN)}={self.value()})",
                 f"Deterministic(seed={self.value()}, start={self.value()})",
                 f"EngineConfig(compiler={self.value()})", f"wizen({self.value()})")  # fmt: skip
        chosen = self.rng.choice(calls)
        name = "w" if chosen.startswith("wizen") else "s" if ".session(" in chosen else ""
        return self.new(name) if name else "", chosen


def checks_memory(seed: int) -> bool:
    """Whether a script runs under the checking allocator, which waits for ever in what is forked."""
    return seed // BATCH % 2 == 0


def make_script(seed: int) -> list[str]:
    """Return the lines that a seed stands for."""
    return Maker(seed).make()
