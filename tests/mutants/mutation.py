"""A mutant: one small fault, kept as the words of its function before and after it.

Where a function lies is a hint alone. A mutant is found again by the name of its function and by the words in
it, wherever both have moved. `bridge.leave` and `leave` are the same words, for a name that is imported loses
its prefix when modules are merged.
"""

import ast
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import tomlkit

SHIPPED = ("sipagent", "media", "retention")
OF_A_FUNCTION = 2  # mutants at most, so that a long function does not have them all
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
Located = ast.expr | ast.stmt | ast.keyword
Edit = tuple[str, tuple[int, int], str]
"""A word for it; from where to where; what comes there."""
_SWAPPED: dict[type[ast.AST], tuple[str, str]] = {
    **{ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")},
    **{ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in")},
    **{ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.And: ("and", "or"), ast.Or: ("or", "and")},
    **{ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")},
}
_WORD = re.compile(
    r"#[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|\d[\w.]*|\w+|[<>=!:]=|->|//|\*\*|[^\w\s]"
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`function`: its name within its module, which was `file`; empty for what is outside of functions.

    `before`: a piece of it, the `nth` that reads so; `after`: what it becomes. `area`: the folder in which
    the mutant was chosen, or `hand/…` for one that somebody has thought of.
    """

    id: str
    area: str
    file: str
    function: str
    what: str
    before: str
    after: str
    nth: int = 0


def read(file: Path) -> list[Mutant]:
    """The mutants of a file that `write` made."""
    return [Mutant(**one) for one in tomlkit.parse(file.read_text(encoding="utf-8")).unwrap()["mutant"]]


def write(file: Path, mutants: list[Mutant]) -> None:
    table = tomlkit.aot()
    for mutant in mutants:
        item = tomlkit.table()
        for key, value in ((key, value) for key, value in asdict(mutant).items() if value != 0):
            item[key] = tomlkit.string(value, multiline=True) if "\n" in str(value) else value
        table.append(item)
    file.write_text(tomlkit.dumps({"mutant": table}), encoding="utf-8")


# --- words ---


@dataclass(frozen=True, slots=True)
class Word:
    """A token, with where it begins and ends; the names before its dot belong to it."""

    text: str
    start: int
    end: int


def words(source: str) -> list[Word]:
    """The tokens of a piece of Python, without comments."""
    found = [(m[0], m.start(), m.end()) for m in _WORD.finditer(source) if not m[0].startswith("#")]
    kept: list[Word] = []
    start: int | None = None
    for (text, begins, ends), (following, *_) in pairwise([*found, ("", 0, 0)]):
        start = begins if start is None else start
        if text != "." and not (following == "." and text.isidentifier()):
            kept.append(Word(text, start, ends))
            start = None
    return kept


def places(piece: str, source: str) -> list[list[Word]]:
    """Wherever a piece stands in a source, word by word."""
    wanted, there = [word.text for word in words(piece)], words(source)
    n = len(wanted)
    return [there[i : i + n] for i in range(len(there)) if [one.text for one in there[i : i + n]] == wanted]


def mutated(source: str, mutant: Mutant) -> str | None:
    """A source with the fault; None where it does not have those words."""
    if len(found := places(mutant.before, source)) <= mutant.nth:
        return None
    old, new = found[mutant.nth], words(mutant.after)
    line = source[: old[0].start].rpartition("\n")[2]
    margin = " " * (len(line) - len(line.lstrip()))
    texts = [word.text for word in old], [word.text for word in new]
    for tag, i, j, k, m in reversed(SequenceMatcher(None, *texts, autojunk=False).get_opcodes()):
        if tag != "equal":  # with the space on both sides
            begins, ends = _between(old, i, j)
            piece = slice(*_between(new, k, m))
            source = source[:begins] + mutant.after[piece].replace("\n", f"\n{margin}") + source[ends:]
    return source


def _between(some: list[Word], first: int, last: int) -> tuple[int, int]:
    """From the end of the word before `first` to the beginning of `last`, the first that is not meant."""
    begins = some[first - 1].end if first else some[0].start
    return begins, some[last].start if last < len(some) else some[-1].end


# --- functions ---


class Module:
    """One module's source, and where in it what lies."""

    def __init__(self, path: Path) -> None:
        self.source = path.read_text(encoding="utf-8")
        plain = re.sub(r"[^\x00-\x7f]", "?", self.source)  # `ast` counts bytes
        self.tree = ast.parse(plain)
        self._lines = [0, *(found.end() for found in re.finditer("\n", plain))]

    def span(self, node: Located) -> tuple[int, int]:
        last = node.end_lineno or node.lineno
        return self._lines[node.lineno - 1] + node.col_offset, self._lines[last - 1] + (
            node.end_col_offset or 0
        )

    def text(self, node: Located) -> str:
        return self.source[slice(*self.span(node))]

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Every function, named as `Class.method` or `outer.inner`."""
        rest: list[tuple[str, ast.AST]] = [("", self.tree)]
        while rest:
            above, node = rest.pop()
            for child in ast.iter_child_nodes(node):
                if isinstance(child, _FUNCTION):
                    yield above + child.name, child
                named = isinstance(child, (*_FUNCTION, ast.ClassDef))
                rest.append((f"{above}{child.name}." if named else above, child))  # type: ignore[attr-defined]


class Tree:
    """The modules of a checkout, as far as a mutant may be in them."""

    def __init__(self, root: Path) -> None:
        paths = sorted(path for package in SHIPPED for path in (root / package).rglob("*.py"))
        self.modules = {path.relative_to(root).as_posix(): Module(path) for path in paths}
        self._spans = [
            (file, name, module.span(node))
            for file, module in self.modules.items()
            for name, node in module.functions()
        ] + [(file, "", (0, len(module.source))) for file, module in self.modules.items()]

    def find(self, mutant: Mutant) -> tuple[str, str, str] | None:
        """Module and function that have it by now, and the module's text with it; None: it is gone.

        The name counts first where it was, then in the same area, then anywhere, at last as that of a method
        which was a function, or the other way round. Where two would do, none is it.
        """
        last = mutant.function.rpartition(".")[2]
        named = [one for one in self._spans if one[1] == mutant.function]
        for some in (
            [one for one in named if one[0] == mutant.file],
            [one for one in named if one[0].startswith(mutant.area)],
            named,
            [one for one in self._spans if last and one[1].rpartition(".")[2] == last],
        ):
            texts = [(file, name, self._with(mutant, file, span)) for file, name, span in some]
            found = [(file, name, text) for file, name, text in texts if text is not None]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    def _with(self, mutant: Mutant, file: str, span: tuple[int, int]) -> str | None:
        source, (start, end) = self.modules[file].source, span
        if (text := mutated(source[start:end], mutant)) is None:
            return None
        whole = source[:start] + text + source[end:]
        try:
            return whole if ast.dump(ast.parse(whole)) != ast.dump(ast.parse(source)) else None
        except SyntaxError:  # the words stand there in another sense
            return None


# --- choosing ---


def choose(tree: Tree, areas: dict[str, int], seed: int) -> list[Mutant]:
    """So many mutants of each area, drawn by a seed."""
    chosen: list[Mutant] = []
    for area, wanted in areas.items():
        sites = [one for file in _files(tree, area) for one in _sites(file, tree.modules[file], area)]
        random.Random(f"{seed} {area}").shuffle(sites)
        had: Counter[tuple[str, str]] = Counter()
        for site in sites:
            where = site.file, site.function
            if had.total() < wanted and had[where] < OF_A_FUNCTION and tree.find(site):
                had[where] += 1
                chosen.append(replace(site, id=f"{area.rpartition('/')[2]}-{had.total():02}"))
    return chosen


def _files(tree: Tree, area: str) -> list[str]:
    """The modules of a folder; or one, with those beside and below it that it imports."""
    if f"{area}.py" not in tree.modules:
        return [file for file in tree.modules if file.startswith(f"{area}/")]
    named = {
        node.module.replace(".", "/") + ".py"
        for node in ast.walk(tree.modules[f"{area}.py"].tree)
        if isinstance(node, ast.ImportFrom) and node.module
    }
    beside = area.rpartition("/")[0]
    return [
        file for file in tree.modules if file == f"{area}.py" or (file in named and file.startswith(beside))
    ]


def _sites(file: str, module: Module, area: str) -> Iterator[Mutant]:
    for name, function in module.functions():
        whole, (start, _) = module.text(function), module.span(function)
        for above, what, (begins, ends), new in (
            one for body in function.body for one in _below(body, [], module)
        ):
            for outer in reversed(above):  # as much of its statement as is needed to find it
                first, last = module.span(outer)
                before = module.source[first:last]
                if len(found := places(before, whole)) == 1:
                    break
            after = module.source[first:begins] + new + module.source[ends:last]
            for nth, place in enumerate(found):
                if place[0].start == first - start:
                    yield Mutant("", area, file, name, what, before, after, nth)


def _below(node: ast.AST, above: list[Located], module: Module) -> Iterator[tuple[list[Located], *Edit]]:
    """The edits of a node and of all below it, each with the nodes from its statement down to it."""
    if isinstance(node, (*_FUNCTION, ast.ClassDef, ast.JoinedStr, ast.Assert)):
        return
    if isinstance(node, ast.stmt) and (hasattr(node, "body") or isinstance(node, ast.Match)):
        above = []
    elif isinstance(node, Located):
        above = [*above, node]
        yield from ((above, *edit) for edit in _edits(node, module))
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if field == "test" and not isinstance(child, ast.Compare | ast.UnaryOp | ast.BoolOp):
                yield [*above, child], "condition negated", module.span(child), f"not ({module.text(child)})"
            if isinstance(child, ast.AST) and field != "annotation":
                yield from _below(child, above, module)


def _edits(node: ast.AST, module: Module) -> Iterator[Edit]:
    def swapped(kind: ast.AST, left: ast.expr, right: ast.expr) -> Iterator[Edit]:
        begins, ends = module.span(left)[1], module.span(right)[0]
        if type(kind) in _SWAPPED:
            old, new = _SWAPPED[type(kind)]
            yield f"{old} became {new}", (begins, ends), module.source[begins:ends].replace(old, new, 1)

    match node:
        case ast.Compare(left=left, ops=[kind], comparators=[right]):
            yield from swapped(kind, left, right)
        case ast.BoolOp(op=kind, values=[left, right, *_]):
            yield from swapped(kind, left, right)
        case ast.BinOp(left=left, op=kind, right=right) if not any(map(_is_text, (left, right))):
            yield from swapped(kind, left, right)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not left out", module.span(node), f"({module.text(operand)})"
        case ast.Constant(value=bool() as value):
            yield f"{value} became {not value}", module.span(node), str(not value)
        case ast.Constant(value=int() | float() as value):
            yield f"{value} became {value + 1}", module.span(node), str(value + 1)
        case ast.Return(value=ast.Compare() | ast.BoolOp() | ast.UnaryOp() as value):
            yield "return value negated", module.span(value), f"not ({module.text(value)})"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "return value left out", module.span(value), "None"
        case ast.Expr(value=ast.Call(func=func)) if not ast.unparse(func).startswith("log."):
            yield "statement left out", module.span(node), "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.AugAssign() | ast.Raise():
            yield "statement left out", module.span(node), "pass"


def _is_text(side: ast.expr) -> bool:
    return isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
