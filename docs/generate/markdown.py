"""Docstrings, signatures and options as Markdown."""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sensorium.registration.options import Option

SECTIONS = r"(Args|Returns|Raises|Yields|Attributes):(.*)"


def cell(text: str) -> str:
    """Return text for a cell of a table: on one line, bars escaped."""
    return escaped(re.sub(r"\s+", " ", text)).replace("|", "\\|")


def code_cell(text: str) -> str:
    """Return text as code in a cell of a table; in Markdown's own code marks a bar would end the cell."""
    text = re.sub(r"\s+", " ", text)
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def table(head: tuple[str, ...], rows: Iterable[Iterable[str]], right: tuple[int, ...] = ()) -> str:
    """Return a table of cells that are Markdown already; the columns `right` are aligned to the right."""
    rules = ["---:" if i in right else "---" for i in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rules, *rows))


def escaped(text: str) -> str:
    """Return prose in which `<` outside of code starts no tag."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def about(thing: Any) -> str:
    """Return a docstring's prose: all that stands before its first section."""
    return _blocks(re.split(rf"^{SECTIONS}$", _doc(thing), maxsplit=1, flags=re.MULTILINE)[0].splitlines())


def first_sentence(thing: Any) -> str:
    """Return a docstring's summary line."""
    return re.sub(r"\s+", " ", _doc(thing).partition("\n\n")[0])


def docstring(thing: Any) -> str:
    """Return a whole docstring in Google's style: its sections with bold titles, what they list as bullets."""
    parts = re.split(rf"^{SECTIONS}$", _doc(thing), flags=re.MULTILINE)
    out = [_blocks(parts[0].splitlines())]
    for title, rest, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        inside = [line for line in body.splitlines() if not line or line.startswith(" ")]
        after = [line for line in body.splitlines() if line and not line.startswith(" ")]
        content = inspect.cleandoc("\n".join(inside)).splitlines()
        listed = _blocks(content) if title in ("Returns", "Yields") else _bullets(content)
        out += [f"**{title}**{rest}", listed, _blocks(after)]
    return "\n\n".join(block for block in out if block)


def signature(thing: Callable[..., Any], name: str) -> str:
    """Return a call with its annotations as a fenced block; an empty string where there is nothing to give."""
    parameters = _parameters(thing)
    try:
        returns = inspect.signature(thing).return_annotation
    except ValueError:
        returns = inspect.Signature.empty
    back = (
        "" if returns in (inspect.Signature.empty, None, "None") or inspect.isclass(thing) else f" -> {_kind(returns)}"
    )
    if not (parameters or back):
        return ""
    written = list(_written(parameters))
    line = f"{name}({', '.join(written)}){back}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {one},\n" for one in written) + f"){back}"
    return f"```python\n{line}\n```"


def option_table(options: list[Option]) -> str:
    """Return the table of a registered class's options."""
    rows = []
    for option in options:
        default = "required" if option.required else "`auto`" if option.default == "auto" else _text(option)
        rows.append((f"`{option.name}`", code_cell(option.type), default, cell(option.help)))
    return table(("option", "type", "default", "meaning"), rows)


def _text(option: Option) -> str:
    return code_cell(_value(option.default))


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def _parameters(thing: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        found = inspect.signature(thing).parameters.values()
    except ValueError:
        return []
    return [p for p in found if p.name not in ("self", "cls")]


def _written(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """Yield parameters as Python writes them, the marks of positional and keyword-only ones included."""
    keyword = False
    for i, p in enumerate(parameters):
        if p.kind is p.KEYWORD_ONLY and not keyword and not any(q.kind is q.VAR_POSITIONAL for q in parameters[:i]):
            yield "*"
        keyword = keyword or p.kind is p.KEYWORD_ONLY
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        kind = "" if p.annotation is p.empty else f": {_kind(p.annotation)}"
        default = "" if p.default is p.empty else f" = {_value(p.default)}" if kind else f"={_value(p.default)}"
        yield star + p.name + kind + default
        if p.kind is p.POSITIONAL_ONLY and (i + 1 == len(parameters) or parameters[i + 1].kind is not p.kind):
            yield "/"


def _value(value: Any) -> str:
    """Return a default as source writes it: functions and classes by name, and no address of an object."""
    if inspect.isroutine(value) or inspect.isclass(value):
        return value.__qualname__
    text = repr(value)
    return "..." if re.fullmatch(r"<.*>", text, flags=re.DOTALL) else text


def _kind(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"ForwardRef\((['\"])(.*?)\1[^)]*\)", r"\2", text)  # of the fields of a named tuple
    return re.sub(r"(?<!['\w.])(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", text)


def _bullets(lines: list[str]) -> str:
    """Return `name: text` lines as bullets, and the lines that go on below them."""
    out: list[str] = []
    for line in lines:
        if match := re.match(r"(\*{0,2}\w[\w., ]*?): ?(.*)", line):
            out.append(f"- `{match[1]}`: {escaped(match[2])}")
        elif out and line.startswith(" "):
            out.append("  " + escaped(line.strip()))
        else:
            out.append(escaped(line.strip()))
    return "\n".join(out).strip()


def _blocks(lines: list[str]) -> str:
    """Return prose with its indented lines as code; what is fenced already stays as it is."""
    out: list[str] = []
    indented = fenced = False
    for i, line in enumerate(lines):
        if not indented and (fenced or line.startswith("```")):
            fenced = line.rstrip() != "```" if fenced else True
            out.append(line)
            continue
        code = line.startswith("    ")
        goes_on = any(rest.startswith("    ") for rest in lines[i + 1 : i + 2])
        if code and not indented:
            out.append("```text")
        elif indented and not code and (line or not goes_on):
            out.append("```")
        indented = code or (indented and not line and goes_on)
        out.append(line[4:] if code else line if indented else escaped(line))
    if indented:
        out.append("```")
    return "\n".join(out).strip()
