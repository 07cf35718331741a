"""The same motion in five layouts is the same clip; what is damaged is named."""

from pathlib import Path

import numpy as np
import pytest

from kinecast.capture.errors import KinecastError
from kinecast.engines.body.model.body import pose_joints
from kinecast.engines.body.model.load import load_body
from kinecast.engines.body.prior.pose_prior import rest_directions
from kinecast.engines.train.data.motion import JOINTS, Clip, joint_table, leg_m, read_clips
from kinecast.engines.train.data.motion_formats import read_amc, read_bvh, turn
from tests.engines.train import toys

DIRECTIONS = rest_directions(load_body().J_template)


def clips(folder: Path) -> list[Clip]:
    return list(read_clips(folder, DIRECTIONS, 60.0))


def test_five_layouts_are_one_motion(tmp_path: Path) -> None:
    toys.write_bvh(tmp_path / "bvh" / "walk.bvh")
    toys.write_asf_amc(tmp_path / "amc")
    toys.write_expmap(tmp_path / "a" / "cmu_motion.npz")
    toys.write_columns(tmp_path / "b" / "motion_cmu_s01_09.npz")
    bvh, amc, expmap, columns = (clips(tmp_path / f)[0] for f in ("bvh", "amc", "a", "b"))
    # an AMC has no rate and is taken to be of 120 Hz: read_clips took every other frame
    assert np.abs(amc.local - bvh.local[::2]).max() < 1e-4
    assert np.abs(amc.root - bvh.root[::2]).max() < 1e-4
    # int16 of 1e-4 rad rounds each rotation by up to 0.5e-4 rad an axis; the world ones add up over a chain of ten
    for archive in (expmap, columns):
        assert np.abs(archive.local - bvh.local).max() < 10 * 1e-4
        assert np.abs(archive.root - bvh.root).max() < 1e-3  # millimetres
    assert (expmap.name, expmap.action) == ("train/walking/walking_1", "walking")
    assert len(clips(tmp_path / "b")) == 1  # the second is in the other archive too
    assert columns.good.sum() == 89


def test_the_body_stands_as_the_source_does(tmp_path: Path) -> None:
    clip = clips(toys.write_bvh(tmp_path / "x.bvh").parent)[0]
    body = load_body()
    _, joints, _ = pose_joints(
        body, clip.local.astype(np.float64), trans=clip.root.astype(np.float64) * leg_m(body.J_template)
    )
    # limbs point where the source's do: directions are taken over exactly, whatever the rest pose of the body
    R = toys.local(toys.angles(90))
    for t in (0, 20, 60):
        world = [R[t, 0]]
        for i in range(1, len(toys.PARENTS)):
            world.append(world[toys.PARENTS[i]] @ R[t, i])
        for ours, theirs, child in (("left_hip", 1, "left_knee"), ("right_elbow", 21, "right_wrist")):
            got = joints[t, JOINTS.index(child)] - joints[t, JOINTS.index(ours)]
            want = world[theirs] @ toys.OFFSETS[theirs + 1]
            cosine = got @ want / np.linalg.norm(got) / np.linalg.norm(want)
            assert cosine > np.cos(1e-3)
    moved = joints[60, 0] - joints[0, 0]
    scale = leg_m(body.J_template) / 0.8205  # the toy's leg, sqrt(0.42² + 0.02²) + 0.4
    assert np.allclose(moved, (toys.places(90)[60] - toys.places(90)[0]) * scale, atol=1e-3)


def test_turns_follow_the_right_hand() -> None:
    assert np.allclose(turn(2, np.array(90.0)) @ [1, 0, 0], [0, 1, 0])
    assert np.allclose(turn(0, np.array(90.0)) @ [0, 1, 0], [0, 0, 1])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "ends too early|no BVH"),
        ("HIERARCHY ROOT Hips { OFFSET 0 0 0 CHANNELS 1 Xfoo } MOTION Frames: 1 Frame Time: 0.1 0", "unknown channel"),
        ("HIERARCHY ROOT Hips { OFFSET 0 0 0 } MOTION Frames: 2 Frame Time: 0 ", "no motion"),
    ],
)
def test_a_damaged_bvh_is_named(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "bad.bvh"
    path.write_text(content)
    with pytest.raises(KinecastError, match=what):
        read_bvh(path)


def test_a_bvh_cut_short_is_named(tmp_path: Path) -> None:
    path = toys.write_bvh(tmp_path / "x.bvh")
    path.write_text(path.read_text()[:-200])
    with pytest.raises(KinecastError, match=r"x\.bvh: no BVH file that can be read"):
        read_bvh(path)


def test_an_amc_needs_its_skeleton_and_its_numbers(tmp_path: Path) -> None:
    amc = toys.write_asf_amc(tmp_path)
    whole = amc.read_text()
    amc.write_text(whole[: whole.rindex("rhand")])
    with pytest.raises(KinecastError, match="rhand is not given in every frame"):
        read_amc(amc)
    amc.write_text(whole.replace(":DEGREES", ":RADIANS"))
    with pytest.raises(KinecastError, match="radians"):
        read_amc(amc)
    (tmp_path / "07.asf").unlink()
    with pytest.raises(KinecastError, match=r"no \.asf beside it"):
        read_amc(amc)


def test_what_is_no_skeleton_or_no_motion_is_named(tmp_path: Path) -> None:
    with pytest.raises(KinecastError, match="it lacks"):
        joint_table(["root", "tail"])
    with pytest.raises(KinecastError, match="no motion in it"):
        clips(tmp_path)
    with pytest.raises(KinecastError, match="no such folder"):
        clips(tmp_path / "none")


def test_names_of_mixamo_are_known_with_their_prefix() -> None:
    names = [f"mixamorig:{n}" for n in (
        "Hips Spine Spine1 Spine2 Neck Head LeftShoulder LeftArm LeftForeArm LeftHand RightShoulder RightArm "
        "RightForeArm RightHand LeftUpLeg LeftLeg LeftFoot LeftToeBase RightUpLeg RightLeg RightFoot RightToeBase"
    ).split()]  # fmt: skip
    table = joint_table(names)
    assert names[table[JOINTS.index("right_hand")]] == "mixamorig:RightHand"  # there are no fingers
    assert names[table[JOINTS.index("spine3")]] == "mixamorig:Spine2"
