"""The pages show commands that parse, of which the cheap ones are run, and link to what is there."""

import argparse
import contextlib
import io
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import save_rig
from kinecast.engines.synth import ring_rig
from kinecast.nodes.cli.main import COMMANDS, command_parser, main
from tests.docs.pages import PAGES, ROOT, name
from tests.nodes.fusion.toys import bodies
from tests.nodes.recording import scene
from tests.nodes.viewer import world

INLINE = re.compile(r"`(kinecast [^`\n]+)`")
BLOCK = re.compile(r"^ *```[a-z]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# what is run, in a folder that holds a recording and a rig: commands that need neither models, GPU nor minutes
RUN = ("rig", "info", "export", "diff", "recover", "calibrate board", "models list")
NOT_HERE = "SMPL_MALE.pkl"  # nobody may pass it on
ANSWER_IS_NO = ("diff",)  # two recordings that differ: status 1 is the answer


def plain(line: str) -> str:
    """A line of a page without prompt, comment, pipe and redirection."""
    return line.strip().removeprefix("$ ").split(" #")[0].split(" > ")[0].split(" | ")[0].strip()


def in_blocks(text: str) -> list[str]:
    """Command lines that stand in blocks, to be copied as they are; continued lines joined."""
    lines = [plain(line) for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("kinecast ")]


def block_fault(line: str) -> str:
    """Why a whole command line does not parse; "" where it does."""
    words = shlex.split(line)[1:]
    if words[0] not in COMMANDS:
        return f"{line}: no such command"
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            command_parser(words[0]).parse_args(words[1:])
    except SystemExit:
        return f"{line}: {said.getvalue().strip().splitlines()[-1]}"
    return ""


def inline_fault(shown: str) -> str:
    """Why a command that is only named, with or without arguments, cannot be; "" where it can."""
    try:
        words = shlex.split(plain(shown))[1:]
    except ValueError:
        return f"{shown}: not a command line"
    if words[0] not in COMMANDS:
        return f"{shown}: no such command"
    parser = command_parser(words[0])
    at = 1
    while subs := [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]:
        if at == len(words) or not words[at].replace("-", "_").isidentifier():
            break
        if words[at] not in subs[0].choices:
            return f"{shown}: {words[at]} is none of {', '.join(subs[0].choices)}"
        parser, at = subs[0].choices[words[at]], at + 1
    known = {o for a in parser._actions for o in a.option_strings}
    asked = [re.split(r"[=\]|]", w.lstrip("["))[0] for w in words if w.lstrip("[").startswith("--")]
    return next((f"{shown}: no option {o}" for o in asked if o not in known), "")


def faults(text: str) -> list[str]:
    """What is wrong with the commands that ``text`` shows."""
    outside = BLOCK.sub("", text)
    found = [block_fault(line) for line in in_blocks(text)] + [inline_fault(s) for s in INLINE.findall(outside)]
    return [f for f in found if f]


def anchor(heading: str) -> str:
    """The fragment that a renderer gives a heading."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", "").replace("*", ""))
    return re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    text, found = page.read_text(encoding="utf-8"), []
    for target in (t for t in LINK.findall(text) if "://" not in t):
        path, _, fragment = target.partition("#")
        there = page.parent / path if path else page
        headings = (
            HEADING.findall(there.read_text(encoding="utf-8")) if there.suffix == ".md" and there.exists() else []
        )
        if not there.exists() or (fragment and fragment not in map(anchor, headings)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_on_the_page_parse(page: Path) -> None:
    assert not faults(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_on_the_page_lead_somewhere(page: Path) -> None:
    assert not broken(page)


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs/index.md"
    seen, todo = set[Path](), [index.resolve()]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = [t.partition("#")[0] for t in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in t]
        todo += [(page.parent / t).resolve() for t in links if t]
    assert {p.resolve() for p in (ROOT / "docs").rglob("*.md")} <= seen


@pytest.mark.parametrize(
    "text",
    [
        "`kinecast fly`", "`kinecast info --nothing x`", "`kinecast rig paint`", "```\nkinecast demo --colour red\n```",
        "```sh\nkinecast export session.mcap --to gif\n```", "  ```\n  kinecast rig convert one.toml\n  ```",
    ],
)  # fmt: skip
def test_a_wrong_command_is_found(text: str) -> None:
    assert faults(text)


def test_a_wrong_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` c\n[x](#a-b-c) [y](#d) [z](other.md) [w](page.md#a-b-c)\n")
    assert broken(page) == ["#d", "other.md"]


def cheap() -> list[str]:
    """Every distinct command line in blocks of the pages that can be run here."""
    lines = {line for page in PAGES for line in in_blocks(page.read_text(encoding="utf-8"))}
    return sorted(line for line in lines if line.removeprefix("kinecast ").startswith(RUN) and NOT_HERE not in line)


def called(rig: Rig, pattern: str, first: int) -> Rig:
    """The same cameras by other names."""
    return replace(rig, cameras=tuple(replace(c, name=pattern.format(first + i)) for i, c in enumerate(rig)))


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a reader of the pages has it: recordings, rigs of other tools, a board. It is the working folder."""
    monkeypatch.chdir(tmp_path)
    for path in map(Path, ("session.mcap", "out/room/session.mcap", "smoothed.mcap")):
        path.parent.mkdir(parents=True, exist_ok=True)
        scene.write_scene(path, frames=12)
    scene.write_scene(Path("other.mcap"), frames=11)
    people = [{1: world.person()}] * 6
    Path("out/demo").mkdir()
    made = world.record(Path("out/demo"), people, videos=False, bodies=lambda k, t: bodies(seq=k, t_ns=t))
    shutil.copy(made, "fitted.mcap")
    rig = ring_rig()
    save_rig(rig, "rig.toml")
    save_rig(called(rig, "cam_{:02d}", 1), "Calib.qca.txt")
    save_rig(called(rig, "cam_{}", 0), "calibration.toml", "aniposelib", "mm")
    save_rig(rig, "easymocap", "easymocap")
    return tmp_path


@pytest.mark.parametrize("line", cheap())
def test_a_cheap_command_of_the_pages_runs(line: str, room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in room.rglob("*") if p.is_file()}
    words = shlex.split(line)[1:]
    status = main(words)
    said = capsys.readouterr()
    assert status == (1 if words[0] in ANSWER_IS_NO else 0), said.err or said.out
    assert said.out or {p for p in room.rglob("*") if p.is_file()} - set(before)
