"""Show source code of the lab in a notebook, read from the running modules, so that it is always what runs."""

import inspect
from pathlib import Path

from lab.errors import LabError


class Text(str):
    """A text that notebooks display as HTML or Markdown, if it has one of them, and everything else as plain text."""

    markdown = page = ""

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        rich = {"text/html": self.page} if self.page else {"text/markdown": self.markdown} if self.markdown else {}
        return {"text/plain": str(self), **rich}


def show(*objects: object) -> Text:
    """The source of functions, classes or modules, each with its file and line numbers."""
    parts, marked = [], []
    for of in objects:
        code, where = source_of(of)
        parts.append(f"{where}\n{code}")
        marked.append(f"*{where}*\n\n```python\n{code}\n```")
    text = Text("\n\n".join(parts))
    text.markdown = "\n\n".join(marked)
    return text


def source_of(of: object) -> tuple[str, str]:
    """The source of an object, and its place, such as "lab/gradients.py, lines 76-93". LabError: it has no source."""
    try:
        lines, first = inspect.getsourcelines(inspect.unwrap(of) if callable(of) else of)
        path = Path(inspect.getsourcefile(of))
    except (TypeError, OSError):
        raise LabError(f"{of!r} has no source to show; show() takes a function, a class or a module") from None
    above = Path(__file__).resolve().parents[2]  # the folder that has `lab`
    where = (path.relative_to(above) if path.is_relative_to(above) else Path(path.parent.name, path.name)).as_posix()
    if first:
        where += f", lines {first}-{first + len(lines) - 1}"
    return inspect.cleandoc("\n" + "".join(lines)).rstrip(), where
