"""The documents as data: pages, headings, links, code and commands."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^( *)(`{3,})(\S*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"^[^\n]*<<'(\w+)'\n.*?^\1$", re.MULTILINE | re.DOTALL)
_OURS = re.compile(
    r"(?:\w+=\S+ )*(?:python (?:-m alexnet_jax|docs/|benchmarks/|examples/)|alexnet-jax |bash (?:scripts/|\.ci/)"
    r"|source scripts/|sbatch |pip install )"
)


def blocks(text: str, language: str) -> list[str]:
    """Returns the contents of the fenced blocks in a language."""
    return [match[4] for match in _FENCE.finditer(text) if match[3] == language]


def prose(text: str) -> str:
    """Returns a page without its fenced blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Returns the targets of a page's links to this repository: FILE, FILE#ANCHOR or #ANCHOR."""
    unquoted = re.sub(r"`[^`\n]*`", "", prose(text))
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", unquoted)


def anchors(text: str) -> set[str]:
    """Returns the anchors of a page's headings, by GitHub's rule, which the site generator follows."""
    headings = re.findall(r"^#+ +(.+?) *#*$", prose(text), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def commands(text: str) -> list[list[str]]:
    """Returns the words of every command of ours: in ``bash`` blocks, indented blocks and code in lines."""
    lines = [line for block in blocks(text, "bash") for line in _joined(block)]
    indented = re.findall(r"^(?: {4}| {6,})(\S.*(?:\\\n.*)*)$", prose(text), re.MULTILINE)
    lines += [line for line in _joined("\n".join(indented)) if _OURS.match(line)]
    lines += [code for code in re.findall(r"`([^`\n]+)`", prose(text)) if _OURS.match(code)]
    words = [
        shlex.split(re.sub(r"[\[\]](?!')|\.\.\.", "", _quoted(line)), comments=True)
        for line in lines
    ]
    return [command for command in words if command]


def _quoted(line: str) -> str:
    """Keeps the brackets of an extra, '.[cuda13]', from those around what may be left out."""
    return re.sub(r"'([^']*)\[(\w+)\]'", r"'\1@\2'", line)


def _joined(block: str) -> list[str]:
    """Returns the lines of a shell script, each whole; programs in it (here-documents) are no commands of ours."""
    return _PROGRAM.sub("", block).replace("\\\n", " ").splitlines()
