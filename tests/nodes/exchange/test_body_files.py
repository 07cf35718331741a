"""Files of bodies, read back by programs that are not ours: the joints are where the recording has them."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import PARENTS, forward, pose_joints
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.sequence.joint_angles import joint_angles
from kinecast.engines.body.sequence.one_shape import with_shape
from kinecast.engines.records import BODY_FLAGS, Bodies
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.cli import main as cli
from kinecast.nodes.exchange.export.body_takes import BodyTakes, read_takes
from kinecast.nodes.exchange.export.bone_names import BONES
from kinecast.nodes.exchange.export.formats import FORMATS, Choices, write
from kinecast.nodes.exchange.export.person_series import turn_to
from kinecast.nodes.recording.file import About, Recording, RecordingWriter, Stamp
from tests.nodes.fusion.toys import bodies
from tests.nodes.recording.scene import circle_rig, write_scene

FRAMES, PERIOD_NS = 24, 16_666_667
BODY = load_body("neutral")
OPEN = 1 << BODY_FLAGS.index("shape open")


def moving(n: int, people: int = 2) -> Bodies:
    """Two people who turn, bend and wave; the shape of each is found out over the first half."""
    said = bodies(people=people, seq=n, t_ns=n * PERIOD_NS, flags=OPEN if n < FRAMES // 2 else 0)
    rng = np.random.default_rng(7)
    swing = rng.normal(0, 0.5, (people, 24, 3)) * np.sin(0.2 * n + rng.uniform(0, 3, (people, 24, 1)))
    turns = said.rotations_rad.astype(np.float64) + swing
    turns[:, 0] = (
        Rotation.from_euler("z", 0.15 * n) * Rotation.from_rotvec(said.rotations_rad[:, 0].astype(np.float64))
    ).as_rotvec()
    betas = np.zeros((people, 10))
    betas[:, 0] = np.arange(1, people + 1) * 0.6 * min(1.0, n / (FRAMES // 2))
    trans = said.trans_m + np.array([0.02 * n, 0.0, 0.0])
    joints = pose_joints(BODY, turns, betas, trans)[1]
    arrays = {"betas": betas, "rotations_rad": turns, "trans_m": trans, "joints_world_m": joints}
    return Bodies(
        **{f: getattr(said, f) for f in said.__slots__} | {k: v.astype(np.float32) for k, v in arrays.items()}
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("take")
    write_scene(folder / "rig.mcap", frames=1)
    rig = Recording.open(folder / "rig.mcap").attachment("rig.toml")
    assert rig is not None and circle_rig().up == "z"
    path = folder / "größe und schritt.mcap"  # names of people are not all ASCII
    with path.open("wb") as file:
        writer = RecordingWriter(file, About())
        writer.attach("rig.toml", rig)
        for n in range(FRAMES):
            people = 1 if n in (9, 10) else 2  # the second is out of sight for a moment
            writer.record(Stamp("bodies", n), moving(n, people) if people == 2 else only_first(n))
        writer.finish()
    return Recording.open(path)


def only_first(n: int) -> Bodies:
    both = moving(n)
    arrays = {f: getattr(both, f) for f in both.__slots__}
    return Bodies(**{k: v[:1] if isinstance(v, np.ndarray) else v for k, v in arrays.items()})


def y_up(recording: Recording) -> BodyTakes:
    return read_takes(recording, turn_to(recording.rig, "y-up"))


def test_a_take_has_one_shape_and_the_joints_stay_where_it_allows(recording: Recording) -> None:
    takes = read_takes(recording)
    assert [t.person for t in takes.people] == [1, 2] and [len(t.t_ns) for t in takes.people] == [24, 22]
    for person, take in enumerate(takes.people, 1):
        np.testing.assert_allclose(take.betas[0], 0.6 * person, atol=1e-6)
        posed = forward(BODY, take.rotations_rad, take.betas, take.trans_m)[0]
        np.testing.assert_allclose(posed, take.joints_m, atol=1e-9)
        live = np.stack([moving(n).joints_world_m[person - 1] for n in np.round(take.t_ns / PERIOD_NS).astype(int)])
        away = np.linalg.norm(take.joints_m - live, axis=2)
        assert away[-10:].max() < 1e-4, "frames that had the shape already are as they were"
        # β₀ of 0.6 makes a body some 6 cm taller: bones that are 3 % longer cannot all end where they did
        assert away.max() < 0.035 * person and np.median(away) < 0.006


def test_a_pose_is_told_anew_as_near_as_the_other_shape_allows() -> None:
    rng = np.random.default_rng(1)
    pose, trans = rng.normal(0, 0.4, (5, 24, 3)), rng.normal(0, 1, (5, 3))
    betas = rng.normal(0, 0.7, 10)
    joints = pose_joints(BODY, pose, betas, trans)[1]
    nudged = pose + rng.normal(0, 0.05, pose.shape)
    again, moved = with_shape(BODY, betas, nudged, joints)
    assert np.abs(pose_joints(BODY, again, betas, moved)[1] - joints).max() < 1e-3
    kept = with_shape(BODY, betas, pose, joints)[0]
    np.testing.assert_allclose(kept, pose, atol=1e-6)


@pytest.mark.parametrize("bones", BONES)
def test_bvhio_finds_the_joints_of_a_bvh(recording: Recording, tmp_path: Path, bones: str) -> None:
    bvhio = pytest.importorskip("bvhio")
    written = write(recording, "bvh", tmp_path / "walk.bvh", Choices(bones=bones, units="m"))
    assert [p.name for p in written.files] == ["walk_person1.bvh", "walk_person2.bvh"]
    assert written.notes == ["2 frames in which somebody was not seen are filled in between"]
    for take, file in zip(y_up(recording).people, written.files, strict=True):
        root = bvhio.readAsHierarchy(str(file))
        assert root.Name == BONES[bones][0]
        layout = [joint for joint, _, _ in root.layout()]
        by_name = {joint.Name: joint for joint in layout}
        frames = np.round((take.t_ns - take.t_ns[0]) / PERIOD_NS).astype(int)
        for t, frame in enumerate(frames.tolist()):
            root.loadPose(frame)
            got = np.array([list(by_name[name].PositionWorld) for name in BONES[bones]])
            np.testing.assert_allclose(got, take.joints_m[t], atol=5e-4)


def test_a_bvh_rests_upright_and_only_its_root_has_a_place(recording: Recording, tmp_path: Path) -> None:
    (file, _) = write(recording, "bvh", tmp_path / "walk.bvh", Choices()).files
    lines = file.read_text().splitlines()
    offsets = {}
    for n, line in enumerate(lines[: lines.index("MOTION")]):
        if line.strip().startswith(("ROOT", "JOINT")):
            offsets[line.split()[1]] = np.array(lines[n + 2].split()[1:], float)
            channels = lines[n + 3].split()[1:]
            assert channels[0] == ("6" if line.startswith("ROOT") else "3") and channels[-3:] == [
                "Zrotation",
                "Xrotation",
                "Yrotation",
            ]
    assert np.abs(offsets["pelvis"]).max() == 0
    assert offsets["left_knee"][1] < -30 and offsets["left_elbow"][0] > 20, "centimetres, legs down, left arm to +x"
    assert float(lines[lines.index("MOTION") + 2].split()[-1]) == pytest.approx(PERIOD_NS * 1e-9, rel=1e-6)


def fk_of_glb(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Joint names, (T, K, 3) places, vertices of the first frame, by pygltflib and the specification alone."""
    pygltflib = pytest.importorskip("pygltflib")
    gltf = pygltflib.GLTF2().load(str(path))
    blob = gltf.binary_blob()
    kinds = {5126: "<f4", 5121: "u1", 5125: "<u4"}
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}

    def array(number: int) -> np.ndarray:
        accessor = gltf.accessors[number]
        view = gltf.bufferViews[accessor.bufferView]
        count = accessor.count * width[accessor.type]
        return np.frombuffer(blob, kinds[accessor.componentType], count, view.byteOffset).reshape(accessor.count, -1)

    skin = gltf.skins[0]
    tracks = {}
    for channel in gltf.animations[0].channels:
        sampler = gltf.animations[0].samplers[channel.sampler]
        tracks[channel.target.node, channel.target.path] = array(sampler.output).astype(float)
    parents = {c: n for n, node in enumerate(gltf.nodes) for c in node.children or []}
    frames = len(tracks[skin.joints[0], "rotation"])
    world = np.zeros((frames, len(skin.joints), 4, 4))
    for k, node in enumerate(skin.joints):
        local = np.tile(np.eye(4), (frames, 1, 1))
        local[:, :3, :3] = Rotation.from_quat(tracks[node, "rotation"]).as_matrix()
        local[:, :3, 3] = tracks.get((node, "translation"), np.array([gltf.nodes[node].translation]))
        parent = parents.get(node)
        world[:, k] = local if parent is None else world[:, skin.joints.index(parent)] @ local
    back = array(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
    part = gltf.meshes[0].primitives[0].attributes
    rest = np.c_[array(part.POSITION), np.ones(gltf.accessors[part.POSITION].count)]
    blend = np.einsum("vi,viab->vab", array(part.WEIGHTS_0), (world[0] @ back)[array(part.JOINTS_0)])
    vertices = np.einsum("vab,vb->va", blend, rest)[:, :3]
    return [gltf.nodes[n].name for n in skin.joints], world[:, :, :3, 3], vertices, np.array(gltf.scenes[0].nodes)


def test_a_glb_is_skinned_and_moves_as_the_body_does(recording: Recording, tmp_path: Path) -> None:
    pygltflib = pytest.importorskip("pygltflib")
    (file,) = write(recording, "glb", tmp_path / "walk.glb", Choices(bones="mixamo")).files
    magic, version, length = struct.unpack("<4sII", file.read_bytes()[:12])
    assert (magic, version, length) == (b"glTF", 2, file.stat().st_size)
    names, places, vertices, _ = fk_of_glb(file)
    take = y_up(recording).people[0]
    assert tuple(names) == BONES["mixamo"]
    np.testing.assert_allclose(places, take.joints_m, atol=1e-4)
    light = load_body("light")
    want = forward(light, take.rotations_rad[:1], take.betas, take.trans_m[:1])[1][0]
    # four influences of up to more: half a centimetre at the few vertices that follow more joints
    assert np.abs(vertices - want).max() < 0.01 and np.abs(vertices - want).mean() < 2e-4
    gltf = pygltflib.GLTF2().load(str(file))
    assert [m.name for m in gltf.meshes] == ["person1", "person2"]
    rig = recording.rig
    shown = {n.name: n for n in gltf.nodes if n.camera is not None}
    assert tuple(shown) == rig.names
    turn = turn_to(rig, "y-up")
    for camera in rig.cameras:
        node = shown[camera.name]
        np.testing.assert_allclose(node.translation, turn @ -(camera.R.T @ camera.t), atol=1e-6)
        looks = Rotation.from_quat(node.rotation).apply([0, 0, -1])
        np.testing.assert_allclose(looks, turn @ camera.R.T[:, 2], atol=1e-6)


def test_smplx_rules_put_the_joints_of_a_motion_file_where_it_says(recording: Recording, tmp_path: Path) -> None:
    for file in write(recording, "smpl", tmp_path / "m.npz", Choices()).files:
        with np.load(file) as got:
            joints = forward(BODY, got["poses"].reshape(-1, 24, 3), got["betas"], got["trans"])[0]
            np.testing.assert_allclose(joints, got["joints"], atol=1e-4)


# angles of poses whose anatomy anybody can see
POSES: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "arms hang": ({}, {"arm_add_r": 0, "arm_flex_l": 0, "elbow_flex_r": 0, "hip_flexion_l": 0, "pelvis_tilt": 0}),
    "arms to the sides": (
        {"right_shoulder": (0, 0, 0), "left_shoulder": (0, 0, 0)},
        {"arm_add_r": -90, "arm_add_l": -90},
    ),
    "right knee bent": ({"right_knee": (90, 0, 0)}, {"knee_angle_r": 90, "knee_angle_l": 0, "ankle_angle_r": 0}),
    "left thigh lifted": ({"left_hip": (-80, 0, 0)}, {"hip_flexion_l": 80, "hip_flexion_r": 0}),
    "right leg to the side": ({"right_hip": (0, 0, -30)}, {"hip_adduction_r": -30, "hip_rotation_r": 0}),
    "left leg to the side": ({"left_hip": (0, 0, 30)}, {"hip_adduction_l": -30, "hip_rotation_l": 0}),
    "toes of the left foot up": ({"left_ankle": (-20, 0, 0)}, {"ankle_angle_l": 20}),
    "leaning back": ({"spine1": (-10, 0, 0), "spine2": (-10, 0, 0)}, {"lumbar_extension": 20, "lumbar_bending": 0}),
    "looking along x, pelvis tilted forward": (
        {"pelvis": Rotation.from_euler("YX", [90, 15], degrees=True).as_rotvec(degrees=True)},
        {"pelvis_tilt": -15, "pelvis_list": 0, "pelvis_rotation": 0},
    ),
}


def at_rest(turns: dict[str, Any]) -> np.ndarray:
    """(1, 24, 3): upright with hanging arms but for ``turns``, degrees about the body's left, up and forward."""
    names = skeleton("smpl24").joints
    pose = np.zeros((1, 24, 3))
    rest = dict(zip(names, BODY.J_template, strict=True))
    for side in ("left", "right"):
        arm = rest[f"{side}_elbow"] - rest[f"{side}_shoulder"]
        angle = -np.arctan2(-arm[1], abs(arm[0]))  # what it lacks of hanging straight down, seen from the front
        down = (np.pi / 2 + angle) * (-1 if side == "left" else 1)
        pose[0, names.index(f"{side}_shoulder")] = (0, 0, down)
    for name, degrees in turns.items():
        pose[0, names.index(name)] = np.radians(degrees)
    return pose


@pytest.mark.parametrize("case", POSES)
def test_joint_angles_are_those_that_anybody_sees(case: str) -> None:
    turns, want = POSES[case]
    turns = {**turns, "pelvis": turns.get("pelvis", (0, 0, 0))}
    pose = at_rest(turns)
    zero = joint_angles(BODY, np.zeros(10), at_rest({}), np.full((1, 24, 3), 0.1))
    got = joint_angles(BODY, np.zeros(10), pose, np.full((1, 24, 3), 0.1))
    for name, degrees in want.items():
        k = got.names.index(name)
        assert got.degrees[0, k] == pytest.approx(degrees, abs=8.0), "the rest pose of the body is not quite a T"
        # against the same body with hanging arms: exact but for the order of turns
        if "arm" not in name and "pelvis" not in name:
            assert got.degrees[0, k] - zero.degrees[0, k] == pytest.approx(degrees, abs=1.5), name
    hinge = got.sd_deg[0, got.names.index("knee_angle_r")]
    assert hinge == pytest.approx(np.degrees(0.1), rel=0.1)


def test_a_mot_says_what_opensim_asks_of_it(recording: Recording, tmp_path: Path) -> None:
    file = write(recording, "mot", tmp_path / "walk.mot", Choices()).files[0]
    lines = file.read_text().splitlines()
    end = lines.index("endheader")
    head = dict(line.split("=") for line in lines[1:end])
    names = lines[end + 1].split("\t")
    rows = np.array([line.split("\t") for line in lines[end + 2 :]], float)
    assert head == {"version": "1", "nRows": str(len(rows)), "nColumns": str(len(names)), "inDegrees": "yes"}
    assert names[0] == "time" and {"pelvis_tilt", "knee_angle_r", "arm_flex_l", "pelvis_ty"} <= set(names)
    assert rows.shape == (24, len(names)) and np.all(np.diff(rows[:, 0]) > 0)
    np.testing.assert_allclose(
        rows[:, names.index("pelvis_ty")], y_up(recording).people[0].joints_m[:, 0, 1], atol=1e-6
    )


def test_angles_come_with_their_standard_deviations(recording: Recording, tmp_path: Path) -> None:
    (file,) = write(recording, "angles", tmp_path / "a.csv", Choices()).files
    head, *rows = [line.split(",") for line in file.read_text().splitlines()]
    assert head[:2] == ["t_capture_ns", "person_id"] and head[2::2] == [
        h[:-4] + "_sd_deg" if False else h for h in head[2::2]
    ]
    assert len(rows) == 24 + 22 and all(h.endswith("_sd_deg") for h in head[3::2])
    assert all(float(v) > 0 for v in rows[0][3::2])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("bvh --axes z-up", "--axes z-up: bvh is written y-up"),
        ("obj --axes y-up", "--axes y-up: obj is written rig"),
        ("glb --units cm", "--units cm: glb is written in m"),
        ("smpl --bones ue5", "--bones is not for smpl; it is for bvh, glb"),
        ("csv --min-frames 3", "--min-frames is not for csv"),
        ("bvh --person 7", "nobody has the identity 7; there are 1, 2"),
        ("trc --person 7", "there are no poses in it"),
    ],
)
def test_what_a_format_does_not_have_is_refused(
    recording: Recording, words: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, *rest = words.split()
    out = tmp_path / f"x{FORMATS[kind].suffix}"
    assert cli.main(["export", str(recording.path), "--to", kind, *rest, "-o", str(out)]) == 2
    assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_take_of_one_frame_is_a_file_too(tmp_path: Path) -> None:
    write_scene(tmp_path / "rig.mcap", frames=1)
    rig = Recording.open(tmp_path / "rig.mcap").attachment("rig.toml")
    assert rig is not None
    with (tmp_path / "one.mcap").open("wb") as file:
        writer = RecordingWriter(file, About())
        writer.attach("rig.toml", rig)
        writer.record(Stamp("bodies", 0), moving(0))
        writer.finish()
    one = Recording.open(tmp_path / "one.mcap")
    for kind in ("bvh", "glb", "mot", "smpl", "angles"):
        files = write(one, kind, tmp_path / f"one{FORMATS[kind].suffix}", Choices()).files
        assert files and all(f.stat().st_size > 500 for f in files)


def test_a_recording_without_bodies_says_how_to_make_them(tmp_path: Path) -> None:
    write_scene(tmp_path / "rig.mcap", frames=1)
    for kind in ("bvh", "glb", "mot"):
        with pytest.raises(KinecastError, match="there are no bodies in it; make them with `kinecast fit`"):
            write(Recording.open(tmp_path / "rig.mcap"), kind, tmp_path / f"x{FORMATS[kind].suffix}", Choices())
    assert np.array_equal(PARENTS, BODY.parents)
