"""What README and the like promise exists."""

import re
import shlex
from pathlib import Path

import pytest

from headrace.tools.cli import COMMANDS
from headrace.tools.run import parser

ROOT = Path(__file__).parents[1]
PAPERS = ("README.md", "CONTRIBUTING.md", "docs/engines.md")


def blocks(paper: str, language: str) -> list[str]:
    """The fenced blocks of a language in a paper."""
    text = (ROOT / paper).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def shell_lines() -> list[str]:
    """Each command line that the papers show."""
    return [
        line.split("  #")[0].strip()
        for paper in PAPERS
        for block in blocks(paper, "sh")
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]


@pytest.mark.parametrize("line", shell_lines())
def test_a_command_of_the_papers_exists(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert set(words[1:]) <= set(targets), line
    elif words[0] == "headrace":
        assert words[1] in COMMANDS, line
        if words[1] == "run":
            parser().parse_args(words[2:])
    elif words[0] == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file(), line


@pytest.mark.parametrize("paper", PAPERS)
def test_links_of_a_paper_lead_somewhere(paper: str) -> None:
    text = (ROOT / paper).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (ROOT / paper).parent.joinpath(target).exists(), f"{paper} links to {target}"


def test_the_python_of_the_readme_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```\n+```\n(.*?)```", text, flags=re.DOTALL)
    assert shown, "README shows Python and its output"
    for code, output in shown:
        exec(compile(code, "README.md", "exec"), {})
        assert capsys.readouterr().out == output
