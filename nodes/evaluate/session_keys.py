"""The keys of a session's figures: what ``summary.json`` of a demo says, and ``kinecast evaluate SESSION --json``.

``<…>`` stands for a name that depends on the session. ``docs/reference/summary.md`` is made of this table.
"""

_BODY = "reprojection of the body's own keypoints, over those that triangulation has too"
_ERROR = (
    "distance between the projected 3D joint and the raw 2D keypoint, over the twelve limb joints of every view that "
)
_REFINE = "with `--refine` only, see [calibrate from people](../how-to/calibrate-from-people.md): "

KEYS: dict[str, str] = {
    "cameras.<name>.frames": "pictures whose keypoints are recorded",
    "cameras.<name>.dropped": "pictures that were given and are in no frame set: the sum of the three below",
    "cameras.<name>.before_start": "that the node was not ready for; realtime only",
    "cameras.<name>.skipped_at_source": "lost at the source or on the way",
    "cameras.<name>.unused": "received, not fused",
    "frame_sets": "how many sets of views were fused",
    "people": "how many people most frame sets show",
    "identities": "how many identities were given out in all",
    "identity_changes": "how often somebody who stood there went on under another identity (identity switches)",
    "left_right_flips": "pairs of left and right limb joints that changed sides between two neighbouring sets",
    "reprojection_px.median": _ERROR
    + "given to the person, also of views that triangulation left out; original pixels",
    "reprojection_px.mean": "the same, mean",
    "reprojection_px.p90": "the same, 90th percentile",
    "reprojection_px.kept": "share of the joint-frames with a measured 3D joint: of `people` × `frame_sets` × 12",
    "reprojection_px.keypoints": "how many keypoints that is over",
    "reprojection_px.keypoints_kept": "their share of all keypoints given to people",
    "reprojection_px.views_per_person": "by how many views a person was seen, mean",
    "bones.std_over_mean": "spread of the lengths of the eight limb bones over the session, mean over bones and people",
    "body": "of the fitted bodies; null where there are none",
    "body.id": "of the body model",
    "body.person_frames": "person-frames with a body",
    "body.share": "their share of all person-frames",
    "body.reprojection_px.median": f"{_BODY}; original pixels",
    "body.reprojection_px.mean": "the same, mean",
    "body.reprojection_px.p90": "the same, 90th percentile",
    "body.reprojection_px.keypoints": "how many keypoints that is over",
    "body.reprojection_px.free_median": "median of the triangulation over the same keypoints",
    "body.reprojection_px.ratio": "the body's median divided by it",
    "body.stature_m.<id>": "of each identity, from the shape, median over the session",
    "body.beta_most": "largest beta of anybody in any frame, in standard deviations",
    "body.limbs_of_triangulated": "triangulated limbs over the body's with the detector's habits, median, 8 limbs",
    "body.bones.std_over_mean": "as `bones`, of the body's limbs: 0 once the shape is held, until then it is learned",
    "body.flags.<flag>": "person-frames with each flag, see [flags](../explanation/body-solver.md#what-is-reported)",
    "body.ms_per_set.p50": "time of all fits of a frame set",
    "body.ms_per_set.p95": "the same, 95th percentile",
    "body.missing": "why the bodies could not be measured, empty where they could",
    "latency_ms.<step>.p50": "`grab` (capture to memory; live only), `detect`, `publish`, `arrival` at fusion, `close` "
    "(last arrival to set closed), `solve`, `pose_publish`, and `total`",
    "latency_ms.<step>.p95": "the same, 95th percentile",
    "latency_from": "where `total` starts: `capture` live, `grab` (picture in memory) where files are read as fast as "
    "possible; there, `total` is mostly waiting for the slowest camera",
    "fps": "frame sets a second, by the wall clock",
    "rate_hz": "frame sets a second, by the stamps",
    "profile": "of the detectors",
    "runtime.<model>": "what each model ran on, and why where it fell back",
    "models.<model>": "sha256 of each model",
    "versions.<library>": "of Kinecast, Python and the libraries that decide the result",
    "seconds.<step>": "demo only: wall time of the `graph`, of `render`, and of `refine`",
    "refinement.used": _REFINE + "whether the recording was fused again with the refined rig",
    "refinement.verdict": _REFINE + "`better`, `keep` or `refused`",
    "refinement.advice": _REFINE + "the same in a sentence",
    "refinement.residual_px.<rig>": _REFINE + "median residual of people, `supplied` and `refined`",
    "refinement.unseen_px.<rig>": _REFINE + "the same on people that the refinement did not see, part by part",
    "refinement.change_mm": _REFINE + "how far each camera moved",
    "refinement.halves_mm": _REFINE + "how far refinements from two halves of the people are apart, camera by camera",
    "refinement.sigma_mm": _REFINE + "standard deviation of each camera's place",
}
