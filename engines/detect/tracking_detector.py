"""The people of one view: found in the whole picture now and then, tracked from their own landmarks in between."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kinecast.capture.errors import KinecastError
from kinecast.capture.frame import Frame
from kinecast.engines.detect import MODEL_EVERY, PeopleDetector
from kinecast.engines.detect.look_schedule import FindRhythm, ModelRhythm
from kinecast.engines.detect.opened_card import OpenModel, open_model
from kinecast.engines.detect.optical_flow import CropFlow
from kinecast.engines.detect.person_detectors import FINDERS, PersonDetections, PersonDetector
from kinecast.engines.detect.picture import F32, Picture, Region
from kinecast.engines.detect.pose_models import EstimatedPose, PoseEstimator, make_pose_estimator
from kinecast.engines.detect.tracks import Track, in_picture, match, without_duplicates
from kinecast.engines.models import DECODERS, Card, Profile, find_card, load_profile
from kinecast.engines.records import People2D
from kinecast.engines.skeleton import skeleton

_log = logging.getLogger("kinecast.detect")
FLOW_MARGIN = 1.25  # of a crop around a box: what is followed must not begin at its edge
NEVER = -(1 << 62)  # looked for, so far


class _View:
    """What both kinds share: the finder that fits the picture, who looks when, identities, and optical flow between
    looks."""

    def __init__(
        self, finders: dict[str, tuple[PersonDetector, Card]], profile: Profile, max_people: int, looks: ModelRhythm
    ) -> None:
        self._finders, self._profile, self._max_people = finders, profile, max_people
        self._rhythm, self._looks = FindRhythm.of(profile), looks
        self._next_id, self._count = 0, 0
        self._tracks: list[Track] = []
        self._crops: dict[int, CropFlow] = {}  # by local identity, of everybody whom a model looked at last time
        self.models: dict[str, str] = {}
        self.runtime: dict[str, str] = {}

    def reset(self) -> None:
        """Forget everybody."""
        self._tracks, self._count, self._crops = [], 0, {}
        self._looks.reset()

    @property
    def model_every(self) -> int:
        """From picture to picture that the poser looks at; in between people are followed by optical flow."""
        return self._looks.every

    @model_every.setter
    def model_every(self, every: int) -> None:
        self._looks.every = every

    def warm_up(self) -> None:
        """Run every model once."""
        for finder, _ in self._finders.values():
            finder.warm_up()

    def _find(self, picture: Picture) -> tuple[PersonDetections, str]:
        finder, card = self._finders[self._profile.finder_for(picture.size_px)]
        return finder.find(picture, self._profile.find_min_score), card.skeleton

    def _name(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _flow(self, track: Track, picture: Picture, t_ns: int) -> Track | None:
        """The person where optical flow has led, None where the model must look."""
        crop = self._crops.get(track.local_id)
        if crop is None:
            return None
        followed = crop.follow(picture, t_ns, track.keypoints_px, track.confidence)
        return None if followed.refusal else track.flow(followed, t_ns)

    def _hold_crops(self, picture: Picture, t_ns: int) -> None:
        """Keep what flow starts from: of those whom the model looked at in this picture, their crops."""
        if self._looks.every == 1:
            self._crops = {}
            return
        self._crops = {
            t.local_id: CropFlow(picture, t.region, t_ns) if t.t_look_ns == t_ns else self._crops[t.local_id]
            for t in self._tracks
            if t.t_look_ns == t_ns or t.local_id in self._crops
        }


class TrackingDetector(_View):
    """A finder now and then, and a poser that follows each person from picture to picture.

    A person leaves when the poser's presence falls under the profile's ``pose_min_score``, or when the joints leap to
    somebody else. Deterministic: what is done depends on the pictures and their stamps alone.
    """

    def __init__(
        self,
        finders: dict[str, tuple[PersonDetector, Card]],
        poser: PoseEstimator,
        name: str,
        profile: Profile,
        max_people: int,
        looks: ModelRhythm | None = None,
    ) -> None:
        super().__init__(finders, profile, max_people, looks or ModelRhythm())
        self._poser, self.skeleton = poser, name
        self._find_at, self._missing_until = NEVER, NEVER
        self._lost: list[tuple[Track, int]] = []  # with when each was lost

    def reset(self) -> None:
        """Forget everybody, and look in the next picture."""
        super().reset()
        self._find_at = self._missing_until = NEVER
        self._lost = []

    def warm_up(self) -> None:
        """Run every model once."""
        super().warm_up()
        self._poser.warm_up()

    def detect(self, frame: Frame) -> People2D:
        """The people in the frame, at most ``max_people``, oldest identity first."""
        picture, t_ns, rhythm = Picture(frame.picture), frame.t_capture_ns, self._rhythm
        now = rhythm.now(self._count, t_ns)
        look = self._looks.next()
        tracks, gone = self._follow(picture, t_ns, look)
        if gone:
            self._missing_until = now + rhythm.every
        if gone or (now >= self._find_at and (look or not tracks)):
            tracks = self._find_people(picture, t_ns, tracks)
            missing = not tracks or now < self._missing_until
            self._find_at = now + (rhythm.eager if missing else rhythm.every)
        kept = without_duplicates(tracks)
        if len(kept) < len(tracks):  # who was dropped may stand right beside: look again at once
            self._find_at, self._missing_until = now + 1, now + rhythm.every
        self._tracks = sorted(kept, key=lambda t: t.local_id)[: self._max_people]
        self._hold_crops(picture, t_ns)
        self._count += 1
        return _people(self._tracks, frame.size_px, len(skeleton(self.skeleton)), t_ns)

    def _follow(self, picture: Picture, t_ns: int, look: bool) -> tuple[list[Track], bool]:
        """Those who are there, with those of the lost who are back; and whether somebody was lost just now.

        look: by the model; else by optical flow, and by the model whom that cannot follow. The lost have to wait.
        """
        there: list[Track] = []
        gone: list[tuple[Track, int]] = []
        now = self._rhythm.now(self._count, t_ns)
        waiting = [(t, since) for t, since in self._lost if now - since < self._rhythm.grace]
        if not look:
            gone, waiting = waiting, []
        for track, since in [*((t, now) for t in self._tracks), *waiting]:
            if not look and (flown := self._flow(track, picture, t_ns)) is not None:
                there.append(flown)
                continue
            posed = self._poser.pose(picture, track.region)
            if posed.presence < self._profile.pose_min_score or track.leapt(posed, t_ns):
                gone.append((track, since))
            else:
                there.append(track.follow(posed, t_ns))
        self._lost = gone
        return there, any(since == now for _, since in gone)

    def _find_people(self, picture: Picture, t_ns: int, tracks: list[Track]) -> list[Track]:
        """Find in the whole picture: the lost again, and who is new."""
        found, finder_skeleton = self._find(picture)
        lost = [t for t, _ in self._lost]
        pairs = match([*tracks, *lost], found, finder_skeleton)
        taken = {pairs[i] for i in pairs if i < len(tracks)}
        back = {j: lost[i - len(tracks)] for i, j in pairs.items() if i >= len(tracks)}
        out = list(tracks)
        for j in range(len(found.scores)):
            if j in taken or len(out) >= self._max_people:
                continue
            posed = self._begin(picture, found, j)
            if posed is None:
                continue
            known = back.get(j)
            if known is not None and not known.leapt(posed, t_ns):
                out.append(known.follow(posed, t_ns))
                self._lost = [(t, since) for t, since in self._lost if t is not known]
                continue
            new = Track.begin(self._next_id, self.skeleton, posed, t_ns, self._count)
            if len(without_duplicates([*out, new])) > len(out):
                self._name()
                out.append(new)
        return out

    def _begin(self, picture: Picture, found: PersonDetections, j: int) -> EstimatedPose | None:
        """Pose a found person twice: from the finder's rough place, then from the pose's own."""
        region: Region = self._poser.region_of(found.boxes_px[j], found.axes_px[j], found.round)
        for _ in range(2):
            posed = self._poser.pose(picture, region)
            if posed.presence < self._profile.pose_min_score:
                return None
            region = posed.next_region
        return posed


class FindingDetector(_View):
    """A finder that gives joints itself, on every picture; identities by likeness to the pictures before."""

    def __init__(
        self,
        finders: dict[str, tuple[PersonDetector, Card]],
        name: str,
        profile: Profile,
        max_people: int,
        looks: ModelRhythm | None = None,
    ) -> None:
        super().__init__(finders, profile, max_people, looks or ModelRhythm())
        self.skeleton = name
        self._seen_at: dict[int, int] = {}

    def detect(self, frame: Frame) -> People2D:
        """The people in the frame, at most ``max_people``, oldest identity first."""
        picture, t_ns = Picture(frame.picture), frame.t_capture_ns
        flown = [] if self._looks.next() else [self._flow(t, picture, t_ns) for t in self._shown]
        seen = [t for t in flown if t is not None]
        if not flown or len(seen) < len(flown):
            seen = self._posed(picture, t_ns)
        self._remember(seen, t_ns)
        self._hold_crops(picture, t_ns)
        self._count += 1
        return _people(sorted(seen, key=lambda t: t.local_id), frame.size_px, len(skeleton(self.skeleton)), t_ns)

    @property
    def _shown(self) -> list[Track]:
        """Those who were seen in the picture before."""
        newest = max((t.t_ns for t in self._tracks), default=0)
        return [t for t in self._tracks if t.t_ns == newest]

    def _posed(self, picture: Picture, t_ns: int) -> list[Track]:
        found, name = self._find(picture)
        pairs = {j: i for i, j in match(self._tracks, found, name).items()}
        seen: list[Track] = []
        for j in range(min(len(found.scores), self._max_people)):
            box = found.boxes_px[j]
            extent = box[2:] - box[:2]
            width, height = (FLOW_MARGIN * max(1.0, float(e)) for e in extent)
            around = Region(float(box[[0, 2]].mean()), float(box[[1, 3]].mean()), width, height)
            posed = EstimatedPose(found.keypoints_px[j], found.confidence[j], float(found.scores[j]), around)
            if j in pairs:
                seen.append(self._tracks[pairs[j]].follow(posed, t_ns))
            else:
                seen.append(Track.begin(self._name(), name, posed, t_ns, self._count))
        return seen

    def _remember(self, seen: Sequence[Track], t_ns: int) -> None:
        now, here = self._rhythm.now(self._count, t_ns), {t.local_id for t in seen}
        missed = [t for t in self._tracks if t.local_id not in here]
        self._seen_at = dict.fromkeys(here, now) | {t.local_id: self._seen_at[t.local_id] for t in missed}
        self._tracks = [*seen, *(t for t in missed if now - self._seen_at[t.local_id] < self._rhythm.forget)]


def _people(tracks: Sequence[Track], size_px: tuple[int, int], joints: int, t_ns: int) -> People2D:
    n = len(tracks)
    xy = np.stack([t.keypoints_px for t in tracks]) if n else np.zeros((0, joints, 2), np.float32)
    confidence = np.stack([t.confidence for t in tracks]) if n else np.zeros((0, joints), np.float32)
    xy, confidence = in_picture(xy, confidence, size_px)
    limit = np.array([size_px[0] - 1, size_px[1] - 1] * 2, np.float32)
    boxes: F32 = np.clip(np.stack([t.box_px for t in tracks]), 0, limit) if n else np.zeros((0, 4), np.float32)
    scores = np.clip(np.array([t.score for t in tracks], np.float32), 0, 1)
    ids = np.array([t.local_id for t in tracks], np.int32)
    ages = np.array([(t_ns - t.t_look_ns) / 1e9 for t in tracks], np.float32)
    return People2D(xy, confidence, boxes.astype(np.float32), scores, ids, ages if ages.any() else ages[:0])


def load_detector(
    profile: str = "performance",
    runtime: str = "auto",
    precision: str = "f32",
    threads: int = 1,
    max_people: int = 6,
    find_every: int | None = None,
    find_min_score: float | None = None,
    size_px: tuple[int, int] | None = None,
    channels: bool = True,
    find_every_s: float | None = None,
    model_every: int = 1,
    phase: int = 0,
) -> PeopleDetector:
    """Open the models of a profile, or of a user's own card (see docs/reference/models.md), for one camera.

    find_every, find_every_s, find_min_score: instead of the profile's. size_px: of the pictures, where it is known
    beforehand; then only the finder of that shape is opened. channels: see
    :func:`engines.detect.opened_card.open_model`. model_every, phase: see
    :class:`engines.detect.look_schedule.ModelRhythm`; phase is the camera's number. Nothing is fetched: KinecastError
    says what to run where a model is not in the cache, and what is wrong with a card or a number.
    """
    chosen = _changed(load_profile(profile), find_every, find_every_s, find_min_score)
    if model_every not in MODEL_EVERY:
        raise KinecastError(f"model_every is {model_every}: expected one of {', '.join(map(str, MODEL_EVERY))}")
    looks = ModelRhythm(model_every, phase)
    if max_people < 1:
        raise KinecastError(f"max_people is {max_people}: expected 1 or more")
    opened: dict[str, tuple[OpenModel, str]] = {}

    def open_once(reference: str) -> OpenModel:
        if reference not in opened:
            opened[reference] = open_model(find_card(reference), runtime, precision, threads, channels)
        return opened[reference][0]

    names = [chosen.finder_for(size_px)] if size_px else [r for r in (chosen.finder, chosen.finder_portrait) if r]
    finders: dict[str, tuple[PersonDetector, Card]] = {}
    for reference in names:
        model = open_once(reference)
        finders[reference] = (FINDERS[model.card.decoder](model), model.card)  # type: ignore[assignment]
    detector: TrackingDetector | FindingDetector
    if chosen.pose:
        pose = open_once(chosen.pose)
        detector = TrackingDetector(
            finders, make_pose_estimator(pose, chosen.refine), pose.card.skeleton, chosen, max_people, looks
        )
    else:
        detector = FindingDetector(finders, find_card(chosen.finder).skeleton, chosen, max_people, looks)
    for model, sha256 in opened.values():
        session = model.session
        detector.models[model.card.name] = sha256
        detector.runtime[model.card.name] = session.provider + (f" ({session.reason})" if session.reason else "")
    _log.info("profile %s: %s", chosen.name, "; ".join(f"{k} on {v}" for k, v in detector.runtime.items()))
    return detector


def _changed(
    profile: Profile, find_every: int | None, find_every_s: float | None, find_min_score: float | None
) -> Profile:
    if find_every_s is not None and not 0 < find_every_s <= 60:
        raise KinecastError(f"find_every_s is {find_every_s}: expected seconds, above 0 and at most 60")
    if find_every is not None and find_every < 1:
        raise KinecastError(f"find_every is {find_every}: expected 1 (every frame) or more")
    if find_min_score is not None and not 0 <= find_min_score <= 1:
        raise KinecastError(f"find_min_score is {find_min_score}: expected a number from 0 to 1")
    if profile.pose and not DECODERS[find_card(profile.pose).decoder].poses:
        raise KinecastError(f"profile {profile.name}: {profile.pose} gives no joints: name another pose model")
    if find_every_s is not None:
        profile = replace(profile, find_every_s=find_every_s, find_every=0)
    profile = replace(profile, find_every=profile.find_every if find_every is None else find_every)
    return replace(profile, find_min_score=profile.find_min_score if find_min_score is None else find_min_score)
