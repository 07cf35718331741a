"""A recording beside a TRC file of the same keypoints, with no truth: what was put in comes out."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinecast.calibration.camera import Rig
from kinecast.calibration.formats import native
from kinecast.capture.errors import KinecastError
from kinecast.engines.records import FrameSet, Poses
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import NONE, World, messages, ring_rig
from kinecast.nodes.cli.main import main
from kinecast.nodes.evaluate.other_program import marker_of
from kinecast.nodes.exchange.export.person_series import turn_y_up
from kinecast.nodes.exchange.marker_files import read_markers, read_trc
from kinecast.nodes.recording.file import RIG, About, RecordingWriter, Stamp

FRAMES, FPS = 30, 25
HALPE = skeleton("halpe26")


def world() -> World:
    return World(1, seed=2)


def truth() -> np.ndarray:
    """(T, 26, 3)."""
    made = world()
    return np.stack([made.points_world(round(k * 1e9 / FPS))[0] for k in range(FRAMES)])


def record(path: Path, rig: Rig, points: np.ndarray) -> Path:
    """A recording with exact keypoints and the given points of its one person."""
    with path.open("wb") as stream:
        writer = RecordingWriter(stream, About(recording="r"))
        writer.attach(RIG, native.dumps(rig).encode())
        for n, m in enumerate(messages(world(), rig, frames=FRAMES, fps_hz=FPS, noise=NONE)):
            assert len(m.scores) == 1
            writer.record(Stamp(f"keypoints/{m.camera}", n), m)
        for k in range(FRAMES):
            t, c = round(k * 1e9 / FPS), len(rig)
            writer.record(
                Stamp("framesets", k),
                FrameSet(k, 0, t, rig.names, np.full(c, k, np.int64), "complete", np.zeros(c, np.int64)),
            )
            poses = Poses(
                frameset_seq=k,
                run_index=0,
                t_set_ns=t,
                skeleton="halpe26",
                cameras=rig.names,
                person_ids=np.array([7], np.int32),
                points_world_m=points[k][None].astype(np.float32),
                covariance_m2=np.zeros((1, 26, 6), np.float32),
                confidence=np.ones((1, 26), np.float32),
                residual_px=np.zeros((1, 26), np.float32),
                views=np.full((1, 26), (1 << c) - 1, np.uint32),
                derived=np.zeros((1, 26), bool),
                detections=np.zeros((1, c), np.int32),
            )
            writer.record(Stamp("poses", k), poses)
        writer.finish()
    return path


def write_trc(path: Path, rig: Rig, points: np.ndarray, units: str = "mm") -> Path:
    """As OpenSim's documentation lays the file out, y up, from frame 1 on."""
    names = [marker_of(j) for j in HALPE.joints if j.startswith(("left_", "right_"))]
    index = [i for i, j in enumerate(HALPE.joints) if j.startswith(("left_", "right_"))]
    turned = points[:, index] @ turn_y_up(rig).T * {"m": 1, "mm": 1000}[units]
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{FPS}\t{FPS}\t{len(points)}\t{len(names)}\t{units}\t{FPS}\t1\t{len(points)}",
        "Frame#\tTime\t" + "\t\t\t".join(names),
        "\t\t" + "\t".join(f"{c}{i + 1}" for i in range(len(names)) for c in "XYZ"),
    ]
    for k, row in enumerate(turned):
        cells = ["" if not np.isfinite(v) else repr(float(v)) for v in row.ravel()]
        lines.append("\t".join([str(k + 1), str(k / FPS), *cells]))
    path.write_text("\n".join(lines) + "\n")
    return path


def figures(args: list[str], capsys: pytest.CaptureFixture[str]) -> dict:  # type: ignore[type-arg]
    assert main(["evaluate", "other", *args, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_same_points_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig, x = ring_rig(3, (640, 480)), truth()
    for units in ("m", "mm"):
        trc = write_trc(tmp_path / "a.trc", rig, x, units)
        out = figures([str(record(tmp_path / "r.mcap", rig, x)), str(trc)], capsys)
        assert out["common"] == out["joint_frames"] == FRAMES * 12
        assert out["apart_mm"]["p90"] < 1e-3  # float32 of metres
        for side in ("ours", "theirs"):
            assert out[side]["reprojection_px"]["p90"] < 0.01 and out[side]["bones_std_over_mean"] < 1e-5
            assert out[side]["reprojection_px"]["n"] == out[side]["reprojection_px"]["of"] > FRAMES * 12


def test_noise_and_gaps_are_seen_on_the_common_joints_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig, x = ring_rig(3, (640, 480)), truth()
    noisy = x + np.random.default_rng(0).normal(0, 0.01, x.shape)
    noisy[:10, HALPE.index("left_wrist")] = np.nan
    ours = x.copy()
    ours[:10, HALPE.index("left_wrist")] += 3.0  # nonsense where the other gives nothing does not count
    recording = record(tmp_path / "r.mcap", rig, ours)
    out = figures([str(recording), str(write_trc(tmp_path / "a.trc", rig, noisy))], capsys)
    assert out["common"] == FRAMES * 12 - 10 and out["theirs"]["joint_frames"] == FRAMES * 12 - 10
    assert out["ours"]["reprojection_px"]["p90"] < 0.01 < out["theirs"]["reprojection_px"]["median"]
    # a bone of 0.25–0.45 m whose ends have 10 mm noise: std/mean about √2 · 10 / 350
    assert out["theirs"]["bones_std_over_mean"] == pytest.approx(0.04, rel=0.4)
    # RMS of a 3D distance with σ per axis is σ√3; n is small and the samples are correlated
    assert out["theirs"]["jitter_mm"] == pytest.approx(10 * np.sqrt(3), rel=0.2)
    assert main(["evaluate", "other", str(recording), str(tmp_path / "a.trc")]) == 0
    assert "reprojection, median" in capsys.readouterr().out


def test_what_was_exported_is_compared_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the recording's own axes, as ``kinecast export`` writes it, was read as y up: metres apart."""
    rig, x = ring_rig(3, (640, 480)), truth()
    recording = str(record(tmp_path / "r.mcap", rig, x))
    assert main(["export", recording, "--to", "trc", "--axes", "rig", "-o", str(tmp_path / "own.trc")]) == 0
    (own,) = tmp_path.glob("own*.trc")
    capsys.readouterr()
    out = figures([recording, str(own)], capsys)
    assert out["person"] == 7 and out["common"] == FRAMES * 12 and out["apart_mm"]["p90"] < 1e-2
    theirs = figures([recording, str(write_trc(tmp_path / "theirs.trc", rig, x))], capsys)
    assert theirs["apart_mm"]["p90"] < 1e-2 and {out["axes"], theirs["axes"]} == {"y up", "z up, as recorded"}


@pytest.mark.parametrize("kind", ["c3d", "motive", "nexus"])
def test_files_of_other_systems_are_read(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rig, x = ring_rig(3, (640, 480)), truth()
    recording = str(record(tmp_path / "r.mcap", rig, x))
    if kind == "c3d":
        pytest.importorskip("ezc3d")
        assert main(["export", recording, "--to", "c3d", "-o", str(tmp_path / "own.c3d")]) == 0
        capsys.readouterr()
        (file,) = tmp_path.glob("own*.c3d")
    else:
        file = tmp_path / f"{kind}.csv"
        file.write_text((motive_csv if kind == "motive" else nexus_csv)(x @ turn_y_up(rig).T))
    out = figures([recording, str(file)], capsys)
    assert out["common"] == FRAMES * 12 - (kind != "c3d") and out["apart_mm"]["p90"] < 1e-2


def motive_csv(points: np.ndarray) -> str:
    """As Motive 3 exports a labelled take: metres, markers and a rigid body, one sample lost."""
    names = [f"Actor:{marker_of(j)}" for j in HALPE.joints if j.startswith(("left_", "right_"))]
    index = [i for i, j in enumerate(HALPE.joints) if j.startswith(("left_", "right_"))]
    each = [n for n in names for _ in range(3)]
    head = [
        f"Format Version,1.23,Take Name,walk,Capture Frame Rate,{FPS},Length Units,Meters,Coordinate Space,Global",
        "",
        ",Type," + ",".join(["Rigid Body"] * 4 + ["Marker"] * len(each)),
        ",Name," + ",".join(["Wand"] * 4 + each),
        ",ID," + ",".join(["1"] * (4 + len(each))),
        ",," + ",".join(["Rotation"] * 4 + ["Position"] * len(each)),
        "Frame,Time (Seconds),X,Y,Z,W," + ",".join(["X", "Y", "Z"] * len(names)),
    ]
    lines = []
    for k, frame in enumerate(points[:, index]):
        cells = [repr(float(v)) for v in frame.ravel()]
        if k == 4:
            at = 3 * names.index("Actor:LElbow")
            cells[at : at + 3] = ["", "", ""]
        lines.append(",".join([str(k), str(k / FPS), "0", "0", "0", "1", *cells]))
    return "\n".join([*head, *lines]) + "\n"


def nexus_csv(points: np.ndarray) -> str:
    """As Nexus exports trajectories: millimetres, names over the first of three columns, another section below."""
    names = [f"Subj:{marker_of(j)}" for j in HALPE.joints if j.startswith(("left_", "right_"))]
    index = [i for i, j in enumerate(HALPE.joints) if j.startswith(("left_", "right_"))]
    head = ["Trajectories", str(FPS), ",," + ",,,".join(names)]
    head.append("Frame,Sub Frame," + ",".join(["X", "Y", "Z"] * len(names)))
    head.append(",," + ",".join(["mm"] * 3 * len(names)))
    lines = []
    for k, frame in enumerate(1000 * points[:, index]):
        cells = [repr(float(v)) for v in frame.ravel()]
        if k == 4:
            at = 3 * names.index("Subj:LElbow")
            cells[at : at + 3] = ["", "", ""]
        lines.append(",".join([str(k + 1), "0", *cells]))
    return "\n".join([*head, *lines, "", "Model Outputs", "100"]) + "\n"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "x,y\n1,2\n", "neither Motive's CSV"),
        ("a.csv", "Trajectories\n100\n", "no row Frame"),
        ("a.csv", "Format Version,1.2\n,Name,A\n,,Position\nFrame,Time,Q\n0,0,1\n", "no columns X, Y, Z"),
        ("a.c3d", "not one", "not a C3D file|ezc3d"),
        ("a.txt", "", "one of .trc, .c3d, .csv"),
    ],
)
def test_what_is_no_file_of_markers_is_said(tmp_path: Path, name: str, text: str, why: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(KinecastError, match=why):
        read_markers(tmp_path / name)


def test_broken_trc_files_get_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig, x = ring_rig(3, (640, 480)), truth()
    recording = str(record(tmp_path / "r.mcap", rig, x))
    good = write_trc(tmp_path / "a.trc", rig, x).read_text()
    assert read_trc(tmp_path / "a.trc").points_m.shape == (FRAMES, 22, 3)
    for change, word in (
        (lambda s: "nonsense", "PathFileType"),
        (lambda s: s.replace("\tmm\t", "\tinch\t"), "'inch'"),
        (lambda s: s.replace("LElbow", "LEllbow"), "LElbow"),
        (lambda s: s.replace("\n2\t", "\ntwo\t"), "line 7"),
        (lambda s: "\n".join(s.splitlines()[:5]) + "\n\n", "no frame"),
    ):
        (tmp_path / "b.trc").write_text(change(good))
        assert main(["evaluate", "other", recording, str(tmp_path / "b.trc")]) == 2
        err = capsys.readouterr().err
        assert word in err and err.count("\n") == 1, err
    assert main(["evaluate", "other", recording, str(tmp_path / "a.trc"), "--offset-frames", "900"]) == 2
