"""The notebooks for a class: without solutions and outputs, with hints in place of the solutions."""

import json
import os
import re
import shutil
from pathlib import Path

from lab.data import checkout
from lab.errors import LabError

SOLUTION = re.compile(r'^teach\.solution\("(\w+)"\).*$', re.MULTILINE)


def student_edition(to: str | Path) -> list[Path]:
    """Write all notebooks into a folder, for students, with the drawings that they show.

    LabError: one of the notebooks or drawings is there already, and nothing is replaced; or no folder is named.
    """
    if not str(to).strip():
        raise LabError("the name of the folder is empty; name the folder that the notebooks are written to, or . for "
                       "this one")
    to = Path(to)
    sources = sorted((checkout() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    drawings = sorted((checkout() / "notebooks" / "drawings").glob("*.svg"))
    files = [*(to / source.name for source in sources), *(to / "drawings" / drawing.name for drawing in drawings)]
    if there := [file for file in files if os.path.lexists(file)]:
        raise LabError(f"{there[0]} is there already, and nothing is overwritten; name another folder")
    (to / "drawings").mkdir(parents=True, exist_ok=True)
    for drawing in drawings:
        shutil.copyfile(drawing, to / "drawings" / drawing.name)
    for source in sources:
        notebook = json.loads(source.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                continue
            code = "".join(cell["source"])
            cell["source"] = SOLUTION.sub(r'teach.hint("\1")       # run it again for the next hint', code)
            cell["outputs"], cell["execution_count"] = [], None
        (to / source.name).write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return [to / source.name for source in sources]
