"""``kinecast evaluate`` from files on disk to figures: every layout of truth, and what is said of broken files."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from kinecast.calibration.formats import load_rig, native
from kinecast.engines.records import FrameSet, Poses
from kinecast.engines.skeleton import skeleton
from kinecast.engines.synth import World, ring_rig
from kinecast.nodes.bus.messages import SourceReport
from kinecast.nodes.cli.main import main
from kinecast.nodes.evaluate.ground_truth import recognise, truth_of
from kinecast.nodes.evaluate.ground_truth.mvor import JOINTS as MVOR
from kinecast.nodes.evaluate.ground_truth.panoptic import JOINTS15, JOINTS19
from kinecast.nodes.evaluate.ground_truth.shelf import HEAD, IMPLIED
from kinecast.nodes.evaluate.ground_truth.truth import Truth, odd_faces
from kinecast.nodes.recording.file import RIG, About, RecordingWriter, Stamp

HALPE = skeleton("halpe26")
SHELF = skeleton("shelf15")
FPS = 25
FRAMES = 20
PEOPLE = 3


def times() -> np.ndarray:
    return np.arange(FRAMES, dtype=np.int64) * (1_000_000_000 // FPS)


@cache
def points() -> np.ndarray:
    """(T, P, 26, 3) people who walk."""
    world = World(PEOPLE, seed=3)
    out = np.stack([world.points_world(int(t)) for t in times()])
    out.flags.writeable = False
    return out


def as_shelf(x: np.ndarray) -> np.ndarray:
    """(…, 15, 3) in the data set's own definition of the neck."""
    out = x[..., [HALPE.index(j) for j in SHELF.joints], :].copy()
    out[..., SHELF.index("neck"), :] = sum(w * x[..., HALPE.index(j), :] for j, w in IMPLIED["neck"][0])
    return out


def write_npz(path: Path, x: np.ndarray, ids: np.ndarray | None = None, t: np.ndarray | None = None) -> Path:
    T, P = x.shape[:2]
    np.savez(
        path,
        t_capture_ns=np.repeat(times() if t is None else t, P),
        person_id=(np.tile(np.arange(P), T) if ids is None else ids.ravel()).astype(np.int32),
        points_world_m=x.reshape(T * P, 26, 3).astype(np.float32),
        confidence=np.isfinite(x[..., 0]).reshape(T * P, 26).astype(np.float32),
    )
    return path


def write_recording(path: Path, x: np.ndarray, first: int = 0, step: int = 1, uri: str = "") -> Path:
    """A recording whose frame sets are made from frames first, first + step, … of the cameras; uri: of their source."""
    rig = ring_rig(3)
    with path.open("wb") as stream:
        writer = RecordingWriter(stream, About(recording="r", session="s"))
        writer.attach(RIG, native.dumps(rig).encode())
        for name in rig.names if uri else ():
            report = SourceReport(name, uri.split(":")[0], uri, (640, 480), FPS, False, 0, "synthetic")
            writer.record(Stamp(f"source/{name}", 0), report)
        for k in range(0, len(x), step):
            P = x.shape[1]
            seqs = np.array([first + k, first + k, -1], np.int64)
            frame = FrameSet(k, 0, int(times()[k]), rig.names, seqs, "complete", np.zeros(3, np.int64))
            cov = np.tile(np.array([1, 0, 0, 1, 0, 1], np.float32) * 0.01**2, (P, 26, 1))
            poses = Poses(
                frameset_seq=k,
                run_index=0,
                t_set_ns=int(times()[k]),
                skeleton="halpe26",
                cameras=rig.names,
                person_ids=np.arange(P, dtype=np.int32),
                points_world_m=x[k].astype(np.float32),
                covariance_m2=cov,
                confidence=np.ones((P, 26), np.float32),
                residual_px=np.ones((P, 26), np.float32),
                views=np.full((P, 26), 3, np.uint32),
                derived=np.zeros((P, 26), bool),
                detections=np.tile(np.array([0, 0, -1], np.int32), (P, 1)),
            )
            writer.record(Stamp("framesets", k), frame)
            writer.record(Stamp("poses", k), poses)
        writer.finish()
    return path


def write_shelf_json(folder: Path, x: np.ndarray, absent: tuple[tuple[int, int], ...] = ()) -> Path:
    """absent: (frame, person) that are not annotated."""
    folder.mkdir(exist_ok=True)
    shelf = as_shelf(x)
    frames = [
        {
            str(p): np.concatenate([shelf[t, p], np.ones((15, 1))], axis=1).tolist()
            for p in range(x.shape[1])
            if (t, p) not in absent
        }
        for t in range(len(x))
    ]
    (folder / "ground_truth.json").write_text(json.dumps(frames))
    return folder


def scores(args: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> dict:  # type: ignore[type-arg]
    assert main(["evaluate", "truth", *args, "--json", "-"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_perfect_recording_beside_shelf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = points()
    out = scores([str(write_recording(tmp_path / "r.mcap", x)), str(write_shelf_json(tmp_path / "s", x))], capsys)
    assert out["frames"]["scored"] == FRAMES and out["frames"]["matched_by"] == "number"
    assert out["pcp"]["average"] == 100 and out["pcp"]["averaged_over"] == [0, 1, 2]
    assert {p: s["frames"] for p, s in out["pcp"]["people"].items()} == {"0": FRAMES, "1": FRAMES, "2": FRAMES}
    assert out["errors"]["mpjpe"]["mm"] < 1e-3  # float32 of metres under 4: 0.2 µm
    assert out["identity"]["switches"] == 0 and out["identity"]["missed"] == 0
    assert out["identity"]["ghosts"] is None  # not everybody is annotated there
    assert out["steadiness"]["bones"]["std_over_mean"] < 1e-5
    assert out["precision"]["ap"]["25"] == pytest.approx(100)
    assert out["errors"]["coverage"]["inside_1_2_3_sigma"] == [1, 1, 1]


def test_errors_put_in_come_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One joint off by 60 mm all the time, one person not found in five frames, two who change names half way."""
    x = points()
    got = x.copy()
    got[:, 0, HALPE.index("left_wrist")] += [0.06, 0, 0]
    got[:5, 2] = np.nan
    ids = np.tile(np.arange(PEOPLE), (FRAMES, 1))
    ids[10:, :2] = [1, 0]
    keep = np.isfinite(got).all(axis=(2, 3)).ravel()
    path = write_npz(tmp_path / "r.npz", got, ids)
    data = dict(np.load(path))
    np.savez(path, **{k: v[keep] for k, v in data.items()})
    out = scores([str(path), str(write_shelf_json(tmp_path / "s", x)), "--fps", str(FPS)], capsys)
    assert out["frames"]["matched_by"] == "time"
    assert out["errors"]["by_joint_mm"]["left_wrist"] == pytest.approx(60 * FRAMES / (3 * FRAMES - 5), abs=1e-3)
    assert out["identity"]["switches"] == 2 and out["identity"]["missed"] == 5
    assert [s[0] for s in out["identity"]["switched_at"]] == [10, 10]
    assert out["pcp"]["people"]["2"]["pcp"] == pytest.approx(100 * (FRAMES - 5) / FRAMES)
    assert out["pcp"]["average"] == pytest.approx((100 + 100 + 75) / 3)
    assert out["errors"]["velocity"]["mm_s"] < 0.1  # a constant error is no error of the velocity


def test_frames_that_were_dropped_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = points()
    half = write_recording(tmp_path / "r.mcap", x, step=2)
    out = scores([str(half), str(write_shelf_json(tmp_path / "s", x))], capsys)
    assert out["frames"]["scored"] == FRAMES // 2 and out["frames"]["truth"] == FRAMES
    assert out["frames"]["person_frames_without_frame_set"] == PEOPLE * FRAMES // 2
    assert out["pcp"]["average"] == 100


def test_frame_numbers_may_start_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = points()
    late = str(write_recording(tmp_path / "r.mcap", x, first=300))
    truth = str(write_shelf_json(tmp_path / "s", x))
    assert main(["evaluate", "truth", late, truth]) == 2
    assert "--offset-frames" in capsys.readouterr().err
    assert scores([late, truth, "--offset-frames", "-300"], capsys)["errors"]["mpjpe"]["mm"] < 1e-3


def test_somebody_without_a_truth_is_a_ghost_only_where_all_are_annotated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = points()
    result = str(write_npz(tmp_path / "r.npz", x))
    absent = tuple((t, 2) for t in range(FRAMES))
    shelf = scores([result, str(write_shelf_json(tmp_path / "s", x, absent)), "--fps", str(FPS)], capsys)
    assert shelf["identity"]["ghosts"] is None and shelf["precision"]["ap"]["25"] == pytest.approx(100)
    own = scores([result, str(write_npz(tmp_path / "t.npz", x[:, :2]))], capsys)
    assert own["identity"]["ghosts"] == FRAMES and own["precision"]["ap"]["25"] <= 100


def test_published_mat_file(tmp_path: Path) -> None:
    x = as_shelf(points())[:, :, :14]
    cells = np.empty((1, PEOPLE), object)
    for p in range(PEOPLE):
        frames = np.empty((FRAMES, 1), object)
        for t in range(FRAMES):
            frames[t, 0] = np.zeros((0, 0)) if (p, t) == (1, 4) else x[t, p]
        cells[0, p] = frames
    (tmp_path / "Shelf").mkdir()
    savemat(tmp_path / "Shelf" / "actorsGT.mat", {"actor3D": cells})
    truth = truth_of(tmp_path / "Shelf")
    assert truth.name == "shelf" and len(truth.frames) == FRAMES and 1 not in truth.frames[4]
    hips = x[7, 2, [SHELF.index("right_hip"), SHELF.index("left_hip")]].mean(axis=0)
    assert np.allclose(truth.frames[7][2][:14], x[7, 2]) and np.allclose(truth.frames[7][2][14], hips)


@pytest.mark.parametrize(("kind", "joints"), [("joints19", JOINTS19), ("joints15", JOINTS15)])
def test_panoptic(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, joints: tuple[str, ...]) -> None:
    x = points()
    folder = tmp_path / "hdPose3d_stage1"
    folder.mkdir()
    rows = x[:, :, [HALPE.index(j) for j in joints]] * 100
    for t in range(FRAMES):
        bodies = [
            {"id": p, kind: np.concatenate([rows[t, p], np.full((len(joints), 1), 0.8)], axis=1).ravel().tolist()}
            for p in range(PEOPLE)
        ]
        bodies[0][kind][3] = -1.0  # the first joint of the first person was not seen
        (folder / f"body3DScene_{t:08d}.json").write_text(json.dumps({"version": 0.7, "bodies": bodies}))
    assert recognise(tmp_path) == "panoptic"
    out = scores([str(write_npz(tmp_path / "r.npz", x)), str(tmp_path), "--fps", str(FPS)], capsys)
    assert out["errors"]["mpjpe"]["mm"] < 1e-3 and out["identity"]["ghosts"] == 0
    assert out["errors"]["mpjpe"]["of"] == FRAMES * (PEOPLE * len(joints) - 1)


def test_mvor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = points()
    ids = [f"100{t}_200{t}" for t in range(FRAMES)]
    annotations = []
    for t in range(FRAMES):
        for p in range(2):
            rows = [[*(x[t, p, HALPE.index(j)] * 1000), 2.0] if j != "head" else [0, 0, 0, 0] for j in MVOR]
            annotations.append(
                {
                    "image_ids": ids[t],
                    "person_id": p,
                    "ref_camera": 1,
                    "id": str(t),
                    "keypoints3D": np.ravel(rows).tolist(),
                }
            )
    turn = np.eye(4)
    turn[:3, 3] = [2000.0, 0, 0]
    params = {
        "intrinsics": [{"focallength": [538.0, 538.0], "principalpoint": [315.0, 240.0]}] * 2,
        "extrinsics": [np.eye(4).ravel().tolist(), turn.ravel().tolist()],
    }
    data = {"multiview_images": [{"id": i} for i in ids], "annotations3D": annotations}
    path = tmp_path / "camma_mvor_2018.json"
    path.write_text(json.dumps(data | {"cameras_info": {"camParams": params}}))
    out = scores([str(write_npz(tmp_path / "r.npz", x)), str(path), "--fps", str(FPS)], capsys)
    assert len(out["joints"]) == 9 and out["errors"]["mpjpe"]["mm"] < 1e-3
    rig = load_rig(path)
    assert rig.up == "-y" and np.allclose(rig["cam2"].centre_world, [2, 0, 0])
    annotations[3]["person_id"] = 0  # two people of one number in the second frame: nobody is lost
    path.write_text(json.dumps(data | {"cameras_info": {"camParams": params}}))
    twice = scores([str(write_npz(tmp_path / "r2.npz", x)), str(path), "--fps", str(FPS)], capsys)
    assert twice["frames"]["person_frames"] == out["frames"]["person_frames"] == 2 * FRAMES
    assert (
        twice["errors"]["mpjpe"]["n"] == out["errors"]["mpjpe"]["n"] and "person 0 is there twice" in twice["notes"][0]
    )


def test_a_face_that_is_too_large_is_named() -> None:
    x = points()[:1, :1].copy()
    x[0, 0, HALPE.index("left_ear")] = x[0, 0, HALPE.index("nose")] + [0.4, 0, 0]
    told = odd_faces(Truth("a set", HALPE.joints, {7: {2: x[0, 0]}}, True))
    assert told == ["frame 7, person 2: left_ear lies 0.40 m from the nose"]
    assert not odd_faces(Truth("a set", HALPE.joints, {7: {2: points()[0, 0]}}, True))


def test_a_recording_is_a_truth_too_and_tables_and_pictures_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = points()
    rng = np.random.default_rng(0)
    noisy = x + rng.normal(0, 0.01, x.shape)
    args = [str(write_recording(tmp_path / "r.mcap", noisy)), str(write_recording(tmp_path / "t.mcap", x))]
    out = scores(args, capsys)
    assert out["frames"]["matched_by"] == "time" and out["identity"]["ghosts"] == 0
    # the mean length of a 3D normal vector is σ·√(8/π); over 1560 joints within 4 standard errors (0.67 σ / √n)
    assert out["errors"]["mpjpe"]["mm"] == pytest.approx(10 * np.sqrt(8 / np.pi), abs=10 * 4 * 0.68 / np.sqrt(1560))
    # the recording says 10 mm, and that is what was put in
    assert out["errors"]["coverage"]["inside_1_2_3_sigma"] == pytest.approx([0.199, 0.739, 0.971], abs=0.05)
    assert (
        main(["evaluate", "truth", *args, "--plot", str(tmp_path / "p.png"), "--json", str(tmp_path / "s.json")]) == 0
    )
    assert "MPJPE" in capsys.readouterr().out
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "s.json").read_text())["tracks"]["identities"] == PEOPLE


def test_the_synthetic_world_is_its_own_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = points()
    made = write_recording(tmp_path / "r.mcap", x, uri=f"synthetic:crowd:3:{PEOPLE}")
    out = scores([str(made), "synthetic"], capsys)
    assert out["dataset"] == "synthetic" and out["frames"]["person_frames"] == PEOPLE * FRAMES
    assert out["errors"]["mpjpe"]["mm"] < 1e-3 and out["identity"]["ghosts"] == 0
    for uri, word in (("video:clip", "video:clip"), ("synthetic:crowd:x:2", "crowd:x:2"), ("", "no camera says")):
        other = write_recording(tmp_path / "v.mcap", x, uri=uri)
        assert main(["evaluate", "truth", str(other), "synthetic"]) == 2
        assert word in capsys.readouterr().err


def test_another_world_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = points()
    result, truth = write_npz(tmp_path / "r.npz", x + 50.0), write_npz(tmp_path / "t.npz", x)
    assert main(["evaluate", "truth", str(result), str(truth)]) == 1
    assert "one world" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ground_truth.json", "{", ["ground_truth.json", "JSON"]),
        ("ground_truth.json", '[{"0": [[1, 2]]}]', ["frame 0", "person 0", "15 joints"]),
        ("ground_truth.json", '[{"bob": []}]', ["'bob'"]),
        ("actorsGT.mat", "not a mat", ["actorsGT.mat"]),
        ("body3DScene_00000001.json", '{"bodies": [{"id": 1}]}', ["body3DScene_00000001.json", "joints19"]),
        ("body3DScene_00000001.json", "[]", ["body3DScene_00000001.json", "bodies"]),
        ("camma_mvor_2018.json", "{}", ["camma_mvor_2018.json", "multiview_images"]),
        ("else.txt", "", ["not a data set"]),
    ],
)
def test_a_broken_truth_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, words: list[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / name).write_text(content)
    result = write_npz(tmp_path / "r.npz", points())
    assert main(["evaluate", "truth", str(result), str(folder), "--fps", "25"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and all(w in err for w in words), err


def test_a_broken_result_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = str(write_npz(tmp_path / "t.npz", points()))
    (tmp_path / "a.npz").write_bytes(b"nonsense")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    np.savez(tmp_path / "c.npz", **(dict(np.load(truth)) | {"confidence": np.zeros((1, 2))}))
    for name, word in (("a.npz", "npz"), ("b.npz", "person_id"), ("c.npz", "agree"), ("d.npz", "no such file")):
        assert main(["evaluate", "truth", str(tmp_path / name), truth]) == 2
        assert word in capsys.readouterr().err
    assert main(["evaluate", "truth", truth, str(tmp_path / "none")]) == 2


def test_a_hidden_ear_or_nose_does_not_take_the_neck_of_the_data_set_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = points().copy()
    middle = (x[..., HALPE.index("left_ear"), :] + x[..., HALPE.index("right_ear"), :]) / 2
    neck = x[..., HALPE.index("neck"), :]
    x[..., HALPE.index("head_top"), :] = neck + HEAD * (middle - neck)  # as fusion derives it
    truth = str(write_shelf_json(tmp_path / "s", x))
    hidden = x.copy()
    hidden[..., HALPE.index("left_ear"), :] = np.nan
    one = scores([str(write_npz(tmp_path / "one.npz", hidden)), truth, "--fps", str(FPS)], capsys)
    assert one["errors"]["by_joint_mm"]["neck"] == pytest.approx(0.0, abs=0.01)  # exactly the same way round
    hidden[..., HALPE.index("nose"), :] = np.nan
    two = scores([str(write_npz(tmp_path / "two.npz", hidden)), truth, "--fps", str(FPS)], capsys)
    # the nose lies some 12.5 cm before the ears and has three eighths of the weight: 4.7 cm
    assert 20 < two["errors"]["by_joint_mm"]["neck"] < 60
