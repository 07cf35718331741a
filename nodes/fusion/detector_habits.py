"""Which habits the keypoints of a session have: the shipped table of their detector, or those of one that is not known.

Tables (:mod:`engines.habits.table`) tell offsets in axes that joints alone make; the body's frames are the same axes at
rest.
"""

from collections.abc import Mapping

import numpy as np

from kinecast.engines.body.fit.habits import HabitPrior, places, unknown_habits
from kinecast.engines.body.model.body import BodyModel
from kinecast.engines.body.model.keypoints import keypoint_terms
from kinecast.engines.habits.limb_frames import KINDS, REFERENCE_M, limb_frames
from kinecast.engines.habits.table import Habits, habit_names, load_habits
from kinecast.engines.records import Keypoints2D
from kinecast.engines.skeleton import skeleton
from kinecast.nodes.fusion.set_views import SKELETON

# the skeleton of a detector's keypoints → its table; of skeletons that many detectors have none is known
TABLE_OF = {"blazepose33": "blazepose-heavy", "body25": "openpose-body25"}


def detector_of(views: Mapping[str, Keypoints2D]) -> str:
    """The table of the detector that most of these views come from, "" for one that is not known."""
    found = [TABLE_OF.get(v.skeleton, "") for v in views.values()]
    return max(sorted(set(found)), key=found.count) if found else ""


def habit_prior(body: BodyModel, detector: str) -> HabitPrior:
    """What is known of a detector's habits on this body; where there is no table of it, how large habits may be."""
    names = skeleton(SKELETON).joints
    return from_table(body, load_habits(detector)) if detector in habit_names() else unknown_habits(names)


def from_table(body: BodyModel, table: Habits) -> HabitPrior:
    """A table's offsets in the frames of the body's limbs, which are the world's axes in its rest pose."""
    names = skeleton(SKELETON).joints
    terms = keypoint_terms(body, SKELETON)
    rest = terms.place(np.eye(3)[None, None].repeat(24, axis=1), body.J_template[None])[0]
    axes = limb_frames(rest)
    mean, sd = [], []
    for place in places(names):
        joint = next(k for k, n in enumerate(names) if n in (place.kind, f"left_{place.kind}"))
        kind = KINDS.index(place.kind)
        row = axes[joint, place.axis]
        if not np.isfinite(row).all():  # a body without that landmark
            row = np.zeros(3)
        mean.append(float((row * np.array(table.offset_m[kind])[:, 0]).sum()))
        sd.append(float(np.sqrt((row**2 * np.array(table.offset_sd_m[kind]) ** 2).sum())))
    size = body.stature_m(np.zeros(body.betas)) / REFERENCE_M
    return HabitPrior(table.detector, size * np.array(mean), size * np.maximum(sd, 1e-3))
