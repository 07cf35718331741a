"""What other programs call the 24 joints of the body, in SMPL's order."""

from kinecast.capture.errors import KinecastError
from kinecast.engines.skeleton import skeleton

# pelvis, hips, spine1, knees, spine2, ankles, spine3, feet, neck, collars, head, shoulders, elbows, wrists, hands
_MIXAMO = (
    "Hips LeftUpLeg RightUpLeg Spine LeftLeg RightLeg Spine1 LeftFoot RightFoot Spine2 LeftToeBase RightToeBase Neck "
    "LeftShoulder RightShoulder Head LeftArm RightArm LeftForeArm RightForeArm LeftHand RightHand LeftHandMiddle1 "
    "RightHandMiddle1"
)
_UNITY = (
    "Hips LeftUpperLeg RightUpperLeg Spine LeftLowerLeg RightLowerLeg Chest LeftFoot RightFoot UpperChest LeftToes "
    "RightToes Neck LeftShoulder RightShoulder Head LeftUpperArm RightUpperArm LeftLowerArm RightLowerArm LeftHand "
    "RightHand LeftMiddleProximal RightMiddleProximal"
)
_UE5 = (
    "pelvis thigh_l thigh_r spine_01 calf_l calf_r spine_02 foot_l foot_r spine_03 ball_l ball_r neck_01 clavicle_l "
    "clavicle_r head upperarm_l upperarm_r lowerarm_l lowerarm_r hand_l hand_r middle_01_l middle_01_r"
)
_CMU = (
    "hip lfemur rfemur lowerback ltibia rtibia upperback lfoot rfoot thorax ltoes rtoes lowerneck lclavicle rclavicle "
    "head lhumerus rhumerus lradius rradius lwrist rwrist lhand rhand"
)

BONES: dict[str, tuple[str, ...]] = {
    "smpl": skeleton("smpl24").joints,
    "mixamo": tuple(f"mixamorig:{name}" for name in _MIXAMO.split()),
    "unity": tuple(_UNITY.split()),
    "ue5": tuple(_UE5.split()),
    "cmu": tuple(_CMU.split()),
}
assert all(len(set(names)) == 24 for names in BONES.values())


def bone_names(which: str) -> tuple[str, ...]:
    """The 24 names of that set; KinecastError lists the known ones."""
    if which not in BONES:
        raise KinecastError(f"unknown bone names {which!r}: known are {', '.join(BONES)}")
    return BONES[which]
