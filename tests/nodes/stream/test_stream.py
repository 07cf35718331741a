"""The live result reaches real receivers, in order, and a receiver that hangs holds up nobody."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinecast.capture.errors import KinecastError
from kinecast.engines.records import BODY_FLAGS
from kinecast.nodes.exchange.export.person_series import turn_y_up
from kinecast.nodes.graph import launch_file
from kinecast.nodes.stream import connect
from kinecast.nodes.stream.frame import StreamedPerson, StreamFrame, pack, unpack
from kinecast.nodes.stream.people import People
from kinecast.nodes.stream.predict import Predictor
from kinecast.nodes.stream.vmc import HUMANOID, MOST_BYTES, VmcSender, bundles
from kinecast.nodes.stream.websocket import WebSocketServer
from kinecast.nodes.supervise.supervisor import Supervisor
from tests.nodes.fusion.toys import bodies
from tests.nodes.recording.scene import circle_rig, poses
from tests.process.graphs import WAIT_S, make

websockets = pytest.importorskip("websockets")
RNG = np.random.default_rng(3)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def person(who: int = 1, joints: int = 24) -> StreamedPerson:
    turns = Rotation.random(joints, random_state=who).as_quat().astype(np.float32)
    places = RNG.normal(0, 1, (joints, 3)).astype(np.float32)
    betas, sd = np.arange(10, dtype=np.float32), np.full(joints, 0.01, np.float32)
    return StreamedPerson(who, 4, betas, places[0], turns, places, sd)


PAIR = (person(), person(7))


def frame(seq: int, people: tuple[StreamedPerson, ...] = PAIR) -> StreamFrame:
    return StreamFrame(seq, time.time_ns() - 5_000_000, time.time_ns(), 0.0, people)


def same(a: StreamFrame, b: StreamFrame) -> bool:
    heads = [(f.seq, f.t_capture_ns, f.t_sent_ns, f.predicted_ms, len(f.people)) for f in (a, b)]
    pairs = zip(a.people, b.people, strict=False)
    return heads[0] == heads[1] and all(
        np.array_equal(getattr(p, f), getattr(q, f)) for p, q in pairs for f in StreamedPerson.__slots__
    )


def test_a_frame_comes_back_as_it_was() -> None:
    none = np.zeros(0, np.float32)
    alone = replace(person(), betas=none, root_m=none, quaternions_xyzw=np.zeros((0, 4), np.float32))
    for sent in (frame(3), frame(4, ()), frame(5, (alone,))):
        assert same(unpack(pack(sent)), sent)
    whole = pack(frame(3))
    for broken in (b"", whole[:-1], whole + b"x", b"KCF2" + whole[4:], whole[:4] + b"\xff\xff" + whole[6:]):
        with pytest.raises(ValueError):
            unpack(broken)


def test_people_come_in_the_receivers_axes_with_the_shape_that_settled() -> None:
    rig = circle_rig()
    turn = turn_y_up(rig)
    people = People(turn)
    said = bodies(people=2)
    (first, _) = people.of_bodies(said)
    np.testing.assert_allclose(first.joints_m, said.joints_world_m[0] @ turn.T, atol=1e-6)
    assert first.joints_m[15, 1] > first.joints_m[7, 1] + 1.0, "the head is above the ankles, and y is up"
    np.testing.assert_allclose(first.root_m, first.joints_m[0], atol=1e-6)
    np.testing.assert_allclose(Rotation.from_quat(first.quaternions_xyzw[0]).apply([0, 1, 0]), [0, 1, 0], atol=1e-6)
    open_flag = np.array([1 << BODY_FLAGS.index("shape open")] * 2, np.uint32)
    still_open = replace(said, betas=said.betas + np.float32(2), flags=open_flag)
    assert people.of_bodies(still_open)[0].betas[0] == 0, "what has settled stays"
    assert People(turn).of_bodies(still_open)[0].betas[0] == 2
    joints = People(turn).of_poses(poses(rig, 4, 2))
    assert joints[0].joints_m.shape == (26, 3) and len(joints[0].quaternions_xyzw) == 0


@pytest.fixture
def server() -> Iterator[WebSocketServer]:
    server = WebSocketServer("127.0.0.1", free_port(), {"joints": ["a"]}, ("http://stage.local",))
    yield server
    server.close()


def url(server: WebSocketServer, path: str = "/") -> str:
    return f"ws://127.0.0.1:{server.port}{path}"


def wait_for(what: Callable[[], Any]) -> None:
    until = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_client_gets_every_frame_in_order_and_soon(server: WebSocketServer) -> None:
    got: list[tuple[int, StreamFrame]] = []
    thread = threading.Thread(target=lambda: got.extend((time.time_ns(), f) for f in connect(url(server))))
    thread.start()
    wait_for(lambda: server.clients)
    for n in range(60):
        server.send(frame(n))
        time.sleep(0.01)
    wait_for(lambda: got and got[-1][1].seq == 59)
    server.close()
    thread.join(WAIT_S)
    seqs = [f.seq for _, f in got]
    assert seqs == sorted(set(seqs)) and len(seqs) + server.skipped == 60
    late_ms = sorted((t - f.t_sent_ns) * 1e-6 for t, f in got)
    print(f"websocket: {len(got)} of 60 frames, {server.skipped} skipped, sent → received p95 {late_ms[-3]:.1f} ms")


def test_text_says_the_same(server: WebSocketServer) -> None:
    from websockets.sync.client import connect as open_socket

    hidden = person(7)
    hidden.joints_m[3] = np.nan
    with open_socket(url(server, "/json")) as listener:
        assert json.loads(listener.recv(WAIT_S)) == {"type": "about", "joints": ["a"]}
        sent = frame(9, (person(), hidden))
        server.send(sent)
        said = json.loads(listener.recv(WAIT_S))
    assert [p["person"] for p in said["people"]] == [1, 7] and said["people"][1]["joints_m"][3] == [None] * 3
    np.testing.assert_allclose(said["people"][0]["quaternions_xyzw"], sent.people[0].quaternions_xyzw, atol=1e-5)


@pytest.mark.parametrize(
    ("origin", "welcome"), [(None, True), ("http://stage.local", True), ("http://evil.org", False)]
)
def test_web_pages_of_other_sites_are_refused(server: WebSocketServer, origin: Any, welcome: bool) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect as open_socket

    if welcome:
        with open_socket(url(server), origin=origin) as listener:
            assert json.loads(listener.recv(WAIT_S))["type"] == "about"
        return
    with pytest.raises(InvalidStatus):
        open_socket(url(server), origin=origin)


def test_a_client_that_hangs_holds_up_nobody(server: WebSocketServer) -> None:
    hung = socket.create_connection(("127.0.0.1", server.port))
    hung.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )  # and reads nothing, ever
    wait_for(lambda: server.clients == 1)
    got: list[int] = []
    threading.Thread(target=lambda: got.extend(f.seq for f in connect(url(server))), daemon=True).start()
    wait_for(lambda: server.clients == 2)
    many = tuple(person(i) for i in range(50))
    for n in range(400):
        server.send(frame(n, many))
        if n % 10 == 0:
            time.sleep(0.02)
    wait_for(lambda: got and got[-1] == 399)
    assert len(got) > 20, "the one who listens was served all along"
    hung.close()


def test_nobody_there_is_said() -> None:
    with pytest.raises(KinecastError, match="no stream there"):
        next(connect(f"ws://127.0.0.1:{free_port()}"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(KinecastError, match="set another websocket port"):
            WebSocketServer("127.0.0.1", taken.getsockname()[1], {})


def test_vmc_is_what_an_osc_library_reads() -> None:
    osc = pytest.importorskip("pythonosc.osc_bundle")
    port = free_port()
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", port))
    receiver.settimeout(WAIT_S)
    sender = VmcSender(f"127.0.0.1:{port}")
    someone, other = person(5), person(6)
    sender.send(frame(1, (someone, other)))
    expected = len(bundles(someone, 0.0))
    assert expected > 1, "more than one Ethernet frame"
    messages = []
    for _ in range(expected):
        data = receiver.recv(65536)
        assert len(data) <= MOST_BYTES
        messages += [(m.address, list(m.params)) for m in osc.OscBundle(data)]
    assert messages[0] == ("/VMC/Ext/OK", [1])
    bones = {p[0]: p[1:] for a, p in messages if a == "/VMC/Ext/Bone/Pos"}
    assert tuple(bones) == HUMANOID
    x, y, z = someone.root_m.tolist()
    np.testing.assert_allclose(bones["Hips"][:3], [-x, y, z], rtol=1e-6)
    M = np.diag([-1.0, 1, 1])  # the mirror that makes a left-handed world of ours
    for j, name in enumerate(HUMANOID):
        want = M @ Rotation.from_quat(someone.quaternions_xyzw[j]).as_matrix() @ M
        np.testing.assert_allclose(Rotation.from_quat(bones[name][3:]).as_matrix(), want, atol=1e-5)
    sender.close()
    receiver.close()
    for wrong in ("39539", "127.0.0.1:x", "127.0.0.1:0", "no.such.host.invalid:39539"):
        with pytest.raises(KinecastError, match="vmc: "):
            VmcSender(wrong)


def test_lsl_is_what_an_inlet_reads() -> None:
    pylsl = pytest.importorskip("pylsl")
    from kinecast.nodes.stream.lsl import LslSender

    sender = LslSender("kinecast-test", tuple(f"j{n}" for n in range(24)), 30.0)
    sender.send(frame(0, (person(3),)))
    found = pylsl.resolve_byprop("name", "kinecast-test person 3", timeout=20.0)
    if not found:
        pytest.skip("no multicast here: LSL finds nobody")
    inlet = pylsl.StreamInlet(found[0])
    inlet.open_stream(timeout=20.0)
    ages = []
    for _ in range(50):
        now = frame(1, (person(3),))
        sender.send(now)
        sample, stamp = inlet.pull_sample(timeout=20.0)
        ages.append(pylsl.local_clock() - stamp)
    assert len(sample) == 24 * 7 and inlet.info().type() == "MoCap"
    np.testing.assert_allclose(sample[:3], now.people[0].joints_m[0], rtol=1e-6)
    assert min(ages) > 0.004, "stamped with the capture, 5 ms before it was sent"
    print(f"lsl: sent → pulled median {1e3 * (sorted(ages)[25] - 0.005):.1f} ms")
    sender.close()


def test_prediction_follows_a_motion_and_leaves_who_stands() -> None:
    def at(t_s: float) -> StreamedPerson:
        turns = Rotation.from_rotvec(np.array([[0, 1.5 * t_s, 0]] * 24)).as_quat().astype(np.float32)
        places = np.tile(np.array([2.0 * t_s, 1, 0], np.float32), (24, 1))
        return StreamedPerson(1, 0, np.zeros(10, np.float32), places[0], turns, places, np.ones(24, np.float32))

    predictor = Predictor(50.0)
    for n in range(6):
        (ahead,) = predictor.ahead(n * 16_666_667, (at(n / 60),))
    want = at(5 / 60 + 0.05)
    np.testing.assert_allclose(ahead.root_m, want.root_m, atol=1e-4)
    np.testing.assert_allclose(ahead.joints_m, want.joints_m, atol=1e-4)
    off = (Rotation.from_quat(ahead.quaternions_xyzw) * Rotation.from_quat(want.quaternions_xyzw).inv()).magnitude()
    assert off.max() < 1e-3
    (back,) = predictor.ahead(10**10, (at(0),))  # after a gap there is no velocity
    np.testing.assert_array_equal(back.root_m, at(0).root_m)
    assert Predictor(0.0).ahead(0, (want,)) == (want,)


def test_a_launch_file_refuses_vmc_without_bodies(tmp_path: Path) -> None:
    make(tmp_path, "realtime", None)
    file = tmp_path / "launch.yaml"
    file.write_text(file.read_text() + "  out: {kind: stream, vmc: '127.0.0.1:39539'}\n")
    with pytest.raises(KinecastError, match=r"nodes.out.vmc needs axes: y-up, and a body"):
        launch_file.load(file)


@pytest.mark.alone
def test_a_running_graph_streams_its_people(tmp_path: Path) -> None:
    make(tmp_path, "realtime", None)
    port = free_port()
    file = tmp_path / "launch.yaml"
    file.write_text(file.read_text() + f"  out: {{kind: stream, websocket: {port}}}\n")
    supervisor = Supervisor(launch_file.load(file))
    outcomes: list[Any] = []
    thread = threading.Thread(target=lambda: outcomes.append(supervisor.run(timeout_s=WAIT_S)))
    thread.start()
    frames: list[StreamFrame] = []
    try:
        until = time.monotonic() + WAIT_S
        while len(frames) < 30 and time.monotonic() < until:
            try:
                for got in connect(f"ws://127.0.0.1:{port}"):
                    frames += [got] if got.people else []
                    if len(frames) == 30:
                        break
            except KinecastError:
                time.sleep(0.2)
    finally:
        supervisor.stop()
        thread.join()
    assert len(frames) == 30 and {p.person for f in frames for p in f.people} == {1}
    assert all(f.t_capture_ns < f.t_sent_ns < f.t_capture_ns + 10**10 for f in frames), "both on the Unix clock"
    assert outcomes[0].nodes["out"].state in ("done", "stopped") and outcomes[0].nodes["out"].restarts == 0
