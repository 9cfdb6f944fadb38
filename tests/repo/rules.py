"""What no Python file of this repository may contain, as functions from source text to findings.

Each finding is `line: what is wrong`. tests/repo/test_rules.py shows that every rule catches something."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
MAX_P90_LINES = 25
"""Of the bodies of a package's functions, the 90th percentile."""
VAGUE = re.compile(r"_*(utils?|helpers?|managers?|misc|commons?)", re.IGNORECASE)
"""Names of modules and folders that say nothing."""
BANNER = re.compile(r"#\s*([-=*#~_+])\1{3,}|#+\s*[-=*#~_+]{2,}.*[-=*#~_+]{2,}\s*$")
SHELLS = frozenset(
    (
        "asyncio.create_subprocess_shell",
        "os.popen",
        "os.system",
        "subprocess.getoutput",
        "subprocess.getstatusoutput",
    )
)
SKIPS = frozenset(("pytest.skip", "pytest.importorskip", "pytest.xfail"))
SKIP_MARKS = frozenset(f"pytest.mark.{name}" for name in ("skip", "skipif", "xfail"))
_PURE = ("abc", "collections", "dataclasses", "enum", "functools", "hashlib", "itertools", "math", "types", "typing")
PURE_MODULES = frozenset(("__future__", *_PURE))
IMPURE_CALLS = frozenset(("open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"))


@dataclass(frozen=True, slots=True)
class Import:
    module: str
    line: int
    names: tuple[str, ...] = ()
    """What is taken `from` it."""

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def imports(source: str) -> Iterator[Import]:
    """Absolute imports, also those inside functions and behind TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield Import(node.module, node.lineno, tuple(alias.name for alias in node.names))


def body_lines(source: str) -> Iterator[tuple[str, int, int]]:
    """Name, line and length of every function: from `def` to its last line, decorators and docstring left out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            hidden = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1 - hidden


def long_functions(source: str) -> Iterator[str]:
    for name, line, lines in body_lines(source):
        if lines > MAX_FUNCTION_LINES:
            yield f"{line}: `{name}` has {lines} lines; {MAX_FUNCTION_LINES} are the limit"


def long_file(source: str) -> Iterator[str]:
    if (lines := len(source.splitlines())) > MAX_FILE_LINES:
        yield f"{lines}: the file has {lines} lines; {MAX_FILE_LINES} are the limit"


def banners(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and BANNER.match(token.string):
            yield f"{token.start[0]}: a banner comment; a long file wants a wall instead"


def shells(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _has_shell(node):
            yield f"{node.lineno}: shell=; give the program a list of arguments"
        if _dotted(node) in SHELLS:
            yield f"{_line(node)}: {_dotted(node)} runs a shell"
    for found in imports(source):
        for name in found.names:
            if f"{found.module}.{name}" in SHELLS:
                yield f"{found.line}: {found.module}.{name} runs a shell"


def _has_shell(call: ast.Call) -> bool:
    return any(
        word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
        for word in call.keywords
    )


def skips(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if _dotted(node) in SKIPS | SKIP_MARKS:
            yield f"{_line(node)}: {_dotted(node)}; a test that does not run proves nothing"


def impurities(source: str) -> Iterator[str]:
    """Of the engine: anything but decisions."""
    for found in imports(source):
        if not found.module.startswith("safekit.engine") and found.top not in PURE_MODULES:
            yield f"{found.line}: imports {found.module}; only {', '.join(sorted(PURE_MODULES))} are pure"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield f"{node.lineno}: calls {node.func.id}()"
        if isinstance(node, ast.Global | ast.AsyncFunctionDef | ast.Await):
            yield f"{node.lineno}: {type(node).__name__}; the engine keeps nothing and waits for nothing"


def mentions(source: str, text: str) -> bool:
    """Whether a string constant, not a docstring, contains the text."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    return any(text in node.value for node in constants if isinstance(node.value, str))


def _dotted(node: ast.AST) -> str:
    """`a.b.c` of such an attribute chain, else empty."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))
