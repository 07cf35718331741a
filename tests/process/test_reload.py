"""`kinecast reload` on a whole running graph: the new weights come into force, and the people stay who they are."""

import threading
from pathlib import Path

import pytest

from kinecast.engines.models.promoted import LIFTERS as store
from kinecast.engines.records import FrameSet, Poses
from kinecast.nodes.cli import main as cli
from kinecast.nodes.fusion.reload import reload
from kinecast.nodes.graph import launch_file
from kinecast.nodes.recording.file import Recording
from kinecast.nodes.supervise.supervisor import Outcome, Supervisor
from tests.engines.lift.toy_lifter import write
from tests.process.graphs import WAIT_S, make

pytestmark = pytest.mark.alone


def test_a_running_graph_takes_up_another_lifter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "cache"))
    names = [store.install(write(tmp_path / "8.safetensors", channels=8), "", "", "").name]
    make(tmp_path, "realtime", None)
    file = tmp_path / "launch.yaml"
    file.write_text(file.read_text().replace("fusion: {restart", "fusion: {lift: default, restart"))
    graph = launch_file.load(file)
    supervisor, outcomes, ready = Supervisor(graph), list[Outcome](), threading.Event()

    def watch(statuses: dict[str, object]) -> None:
        health = getattr(statuses["fusion"], "health", None)
        if health is not None and health.published.get("framesets", 0) > 20:
            ready.set()

    thread = threading.Thread(target=lambda: outcomes.append(supervisor.run(watch, timeout_s=WAIT_S)))
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        assert reload(graph, WAIT_S) == (names[0], names[0])  # nothing new: as before
        names.append(store.install(write(tmp_path / "12.safetensors", channels=12), "", names[0], "").name)
        assert cli.main(["reload", str(file)]) == 0
        assert f"in force: {names[1]} (before: {names[0]})" in capsys.readouterr().out
    finally:
        supervisor.stop()
        thread.join()
    assert outcomes[0].nodes["fusion"].restarts == 0
    recording = Recording.open(tmp_path / "out/session.mcap")
    told = [r for _, _, r in recording.messages(("framesets", "poses"))]
    named = [r.lifter for r in told if isinstance(r, FrameSet)]
    at = named.index(names[1])
    assert at > 20 and set(named[:at]) == {names[0]} and set(named[at:]) == {names[1]}
    assert {i for r in told if isinstance(r, Poses) for i in r.person_ids.tolist()} == {1}
