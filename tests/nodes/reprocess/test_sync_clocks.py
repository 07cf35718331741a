"""``kinecast sync`` and ``kinecast smooth`` on recordings of the synthetic world."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.formats import native
from kinecast.capture.errors import KinecastError
from kinecast.engines.synth import CROWD, CameraClock, Noise, World, messages, ring_rig
from kinecast.engines.timing.rig_watch import RigState
from kinecast.nodes.cli import main as cli
from kinecast.nodes.fusion import rig_health
from kinecast.nodes.fusion.core import FusionCore
from kinecast.nodes.graph.launch_file import dump
from kinecast.nodes.graph.records import CameraNode, FusionNode, Graph, Session, SourceSettings
from kinecast.nodes.recording.file import LAUNCH, RIG, About, Recording, RecordingWriter, Stamp
from kinecast.nodes.reprocess.replay import replay
from kinecast.nodes.reprocess.smooth import smooth_recording
from kinecast.nodes.reprocess.sync_clocks import estimate, write_synced

OFFSETS_MS = np.array([20.0, -15.0, 5.0])
RIG3 = ring_rig(3)


class Standing(World):
    """Everybody stands as they did after five seconds."""

    def points_world(self, t_ns: int) -> np.ndarray:
        return super().points_world(5_000_000_000)


def record(path: Path, world: World, frames: int, clocks: dict[str, CameraClock], noise: Noise = CROWD) -> Path:
    """A recording as the nodes make one, fused with the stamps as they are."""
    sources = {n: CameraNode(camera=n, source=SourceSettings(kind="synthetic")) for n in RIG3.names}
    settings = FusionNode(estimate_offsets=False)
    session = Session("synthetic", str(path.parent), str(path.parent / "rig.toml"), "lossless")
    graph = Graph(session, {**sources, "fusion": settings})
    core, numbers = FusionCore(RIG3, settings), Counter[str]()
    with path.open("xb") as file:
        writer = RecordingWriter(file, About("timing", "synthetic"), str(path))
        writer.attach(RIG, native.dumps(RIG3).encode())
        writer.attach(LAUNCH, dump(graph).encode())

        def put(topic: str, what: object) -> None:
            writer.record(Stamp(topic, numbers[topic]), what)
            numbers[topic] += 1

        for view in messages(world, RIG3, frames=frames, noise=noise, clocks=clocks):
            put(f"keypoints/{view.camera}", view)
            for out in core.handle(0, f"keypoints/{view.camera}", view):
                put(out.topic, out.record)
        writer.finish()
    return path


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clocks = {n: CameraClock(round(1e6 * o)) for n, o in zip(RIG3.names, OFFSETS_MS, strict=True)}
    return record(tmp_path_factory.mktemp("sync") / "skewed.mcap", World(2, 1), 150, clocks)


def test_sync_prints_the_clocks_and_fuses_again_with_them(
    skewed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "synced.mcap"
    assert cli.main(["sync", str(skewed), "-o", str(out)]) == 0
    told = {line.split(":")[0]: line for line in capsys.readouterr().out.splitlines() if "offset" in line}
    wanted = OFFSETS_MS - OFFSETS_MS.mean()
    for name, offset in zip(RIG3.names, wanted, strict=True):
        assert abs(float(told[name].split()[2]) - offset) < 2.0
    synced = Recording.open(out)
    sets = [r for _, _, r in synced.messages(("framesets",))]
    assert len(sets) > 140
    np.testing.assert_allclose(sets[-1].offsets_ns / 1e6, wanted, atol=2.0)
    # stamps are never written over
    stamps = {(r.camera, r.frame_seq): r.t_capture_ns for _, _, r in Recording.open(skewed).messages(("keypoints",))}
    assert stamps == {(r.camera, r.frame_seq): r.t_capture_ns for _, _, r in synced.messages(("keypoints",))}
    assert replay(synced).identical


def test_people_who_stand_are_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = record(tmp_path / "still.mcap", Standing(2, 1), 90, {})
    out = tmp_path / "synced.mcap"
    assert cli.main(["sync", str(still), "-o", str(out)]) == 1
    said = capsys.readouterr().out
    assert all(f"cannot tell the clock of {n}: " in said for n in RIG3.names)
    assert not out.exists()
    with pytest.raises(KinecastError, match="does not tell the clock of cam01"):
        write_synced(Recording.open(still), estimate(Recording.open(still)), out)


def test_clocks_that_never_met_are_counted_from_the_first_frames(tmp_path: Path) -> None:
    hour = 3_600_000_000_000
    clocks = {n: CameraClock(k * hour + k * 8_000_000) for k, n in enumerate(RIG3.names)}
    path = record(tmp_path / "apart.mcap", World(2, 1), 150, clocks)
    timing = estimate(Recording.open(path))
    assert not timing.met and not timing.refused()
    # all cameras begin at one moment of the world, so against the first frames the clocks agree
    assert np.abs(timing.clocks.offsets_s).max() < 0.002
    written = write_synced(Recording.open(path), timing, tmp_path / "met.mcap")
    assert written.sets > 140 and len(written.people) == 2


def test_bad_arguments_are_named(skewed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sync", str(skewed), "--reference", "cam9"]) == 2
    assert "no keypoints of a camera 'cam9'" in capsys.readouterr().err
    assert cli.main(["sync", str(skewed), "--max-offset", "1000"]) == 2
    assert "--max-offset" in capsys.readouterr().err


def test_a_plot_without_matplotlib_says_how_to_get_it(
    skewed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["sync", str(skewed), "--plot", str(tmp_path / "a.png")]) == 2
    assert "kinecast[plot]" in capsys.readouterr().err


def test_a_plot_is_drawn(skewed: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert cli.main(["sync", str(skewed), "--plot", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_smoothing_helps_says_so_and_hides_no_residual(tmp_path: Path) -> None:
    path = record(tmp_path / "raw.mcap", World(2, 3), 90, {}, Noise(sigma_px=3.0))
    done = smooth_recording(Recording.open(path), tmp_path / "smooth.mcap")
    before, after = np.concatenate(done.before_px), np.concatenate(done.after_px)
    raw = [r for _, _, r in Recording.open(path).messages(("poses",))]
    smoothed = [r for _, _, r in Recording.open(tmp_path / "smooth.mcap").messages(("poses",))]
    assert [r.filtered for r in raw] == [""] * len(raw) and {r.filtered for r in smoothed} == {"smoothed"}
    # the residual of the raw points, computed again from the keypoints, is the one that fusion told
    told = np.concatenate([r.residual_px[np.isfinite(r.residual_px) & ~r.derived] for r in raw])
    assert len(told) == len(before)
    # (all but those where a view's left and right stand on one another, and either may have been taken)
    assert (np.abs(before - told) < 0.02 + 0.02 * told).mean() > 0.999
    # a point is where its own keypoints are met best: anywhere else they are met worse
    assert np.median(after) > np.median(before)
    # three views of 3 px and 3 unknowns of 6 leave 3 of 6 squares; near the truth all 6 are left
    assert np.median(after) < 1.6 * np.median(before)
    truth = World(2, 3)
    errors = [_error_m(r, truth) for r in (raw, smoothed)]
    assert errors[1] < 0.75 * errors[0]
    with pytest.raises(KinecastError, match="smoothed already"):
        smooth_recording(Recording.open(tmp_path / "smooth.mcap"), tmp_path / "again.mcap")


def _error_m(sets: list, world: World) -> float:
    found = []
    for poses in sets:
        gap = np.linalg.norm(poses.points_world_m[:, None] - world.points_world(poses.t_set_ns)[None], axis=-1)
        found += [float(np.nanmedian(g, axis=1).min()) for g in gap]
    return float(np.mean(found))


def test_smooth_writes_npz_that_says_what_it_is(skewed: Path, tmp_path: Path) -> None:
    assert cli.main(["smooth", str(skewed), "-o", str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz") as told:
        assert str(told["filtered"]) == "smoothed"
    assert cli.main(["smooth", str(skewed), "-o", str(tmp_path / "a.csv")]) == 2


# ── live ──


def state(offset_ms: list[float], sigma_ms: float, moved: int = 0) -> RigState:
    blank = np.full(2, np.nan)
    since = np.array([0, moved], np.int64)
    return RigState(0, blank, blank, np.array([1.0, 14.2]), blank, since, np.array(offset_ms) / 1e3,
                    np.full(2, sigma_ms / 1e3))  # fmt: skip


def test_corrections_go_slowly_and_only_where_they_are_sure() -> None:
    def steered(offsets_ms: list[float], sigma_ms: float) -> list[int]:
        zero = np.zeros(2, np.int64)
        return list(rig_health.ClockSteering(2).steered(zero, state(offsets_ms, sigma_ms)).tolist())

    assert steered([9.0, -9.0], 0.4) == [2_000_000, -2_000_000]
    assert steered([1.5, -1.5], 0.4) == [1_500_000, -1_500_000]
    assert steered([0.9, -0.9], 0.4) == [0, 0]
    assert steered([0.3, -0.3], 0.1) == [0, 0]
    assert steered([9.0, -9.0], 3.0) == [0, 0]
    assert steered([float("nan")] * 2, 0.1) == [0, 0]


def test_the_line_names_camera_pixels_and_time() -> None:
    told = rig_health.record(state([0, 0], 1, moved=83_000_000_000), 0, ("cam1", "cam2"))
    assert rig_health.line(told) == "camera cam2 has moved: 14 px since 83 s of the session"
    assert "14 px since " in rig_health.line(told, 10**18)
    assert rig_health.line(rig_health.record(state([0, 0], 1), 0, ("cam1", "cam2"))) == ""


@pytest.fixture(scope="module")
def live() -> list:
    """40 s of a live fusion whose clocks are off, the cameras' messages in two orders of arrival."""
    clocks = {n: CameraClock(round(1e6 * o)) for n, o in zip(RIG3.names, OFFSETS_MS, strict=True)}
    views = list(messages(World(2, 1), RIG3, frames=600, fps_hz=15.0, clocks=clocks))
    by_camera = [[v for v in views if v.camera == n] for n in RIG3.names]
    late_third = [v for k in range(0, 600, 4) for seen in by_camera[::-1] for v in seen[k : k + 4]]
    out = []
    for order in (views, late_third):
        core = FusionCore(RIG3, FusionNode())
        out.append([o for v in order for o in core.handle(0, f"keypoints/{v.camera}", v)])
    return out


def test_live_the_clocks_come_right_and_are_published(live: list) -> None:
    sets = [o.record for o in live[0] if o.topic == "framesets"]
    wanted = OFFSETS_MS - OFFSETS_MS.mean()
    assert not sets[0].offsets_ns.any()
    np.testing.assert_allclose(sets[-1].offsets_ns / 1e6, wanted, atol=2.0)
    told = [o.record for o in live[0] if o.topic == "rig_health"]
    assert 35 <= len(told) <= 40  # one a second
    np.testing.assert_allclose(told[-1].offset_ms, wanted, atol=2.0)
    assert not told[-1].moved_since_ns.any()


def test_lossless_results_do_not_depend_on_the_order_of_arrival(live: list) -> None:
    first, second = ([o.record for o in outs if o.topic == "framesets"] for outs in live)
    many = min(len(first), len(second))
    assert many > 500
    for a, b in zip(first[:many], second[:many], strict=True):
        assert (a.t_set_ns, a.frame_seqs.tolist(), a.offsets_ns.tolist()) == (
            b.t_set_ns, b.frame_seqs.tolist(), b.offsets_ns.tolist())  # fmt: skip
