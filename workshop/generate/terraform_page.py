"""The tables of inputs and outputs in the READMEs of deploy/terraform, from its files.

`python -m workshop.generate.terraform_page`. What stands above the mark in a README is written by hand; what is below
it is made here. Needs python-hcl2 (`make install` has it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from workshop.generate.terraform import ROOT

MARK: Final = "<!-- made by python -m workshop.generate.terraform_page -->\n"


def page(folder: Path) -> str:
    """The README of a module, with its tables made again."""
    readme = folder / "README.md"
    above = readme.read_text().split(MARK)[0] if readme.exists() else f"# {folder.name}\n\n"
    variables, outputs = (_blocks(folder, kind) for kind in ("variable", "output"))
    lines = ["## Inputs", "", "| name | what it is | required |", "|---|---|---|"]
    lines += [f"| `{n}` | {b['description']} | {'no' if 'default' in b else 'yes'} |" for n, b in variables.items()]
    lines += ["", "## Outputs", "", "| name | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {body['description']} |" for name, body in outputs.items()]
    return above + MARK + "\n".join(lines) + "\n"


def _blocks(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    import hcl2

    with (folder / f"{kind}s.tf").open() as file:
        parsed = hcl2.load(file)
    return {_plain(n): _plain(body) for block in parsed.get(kind, []) for n, body in sorted(block.items())}


def _plain(value: Any) -> Any:
    """Strings without the quotes that some versions of the parser leave on them."""
    if isinstance(value, str):
        return value.strip('"')
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def main() -> None:
    """Write all of them."""
    for folder in (ROOT, *sorted((ROOT / "modules").iterdir())):
        (folder / "README.md").write_text(page(folder))


if __name__ == "__main__":
    main()
