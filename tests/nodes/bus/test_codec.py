"""Records ↔ bytes: everything comes back as it was, and nothing that is not a record comes through."""

import json
from dataclasses import dataclass, fields, replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kinecast.engines.records import Bodies, FrameSet, Keypoints2D, Meshes, Poses
from kinecast.nodes.bus import codec
from kinecast.nodes.bus.codec import DTYPES, MAX_MESSAGE_BYTES, CodecError, decode, encode, json_schema
from kinecast.nodes.bus.messages import (
    Ack,
    CommonRate,
    End,
    Health,
    Hello,
    Preview,
    PreviewWish,
    RigHealth,
    SourceReport,
)
from kinecast.nodes.bus.topics import TOPICS
from tests.nodes.recording.scene import circle_rig, frameset, keypoints, poses, source

RIG = circle_rig()
SAMPLES: dict[type, Any] = {
    Keypoints2D: keypoints(RIG, 1, 5, people=3),
    FrameSet: replace(frameset(RIG, 4), dropped={"late": 2}),
    Poses: poses(RIG, 4, people=2),
    Meshes: Meshes(4, 0, 10**9, "free-neutral-0", np.array([1, 2], np.int32), np.ones((2, 9, 3), np.float32)),
    Bodies: Bodies(
        4,
        0,
        10**9,
        "free-neutral-0",
        "neutral",
        np.array([1, 2], np.int32),
        np.zeros((2, 10), np.float32),
        np.full((2, 24, 3), 0.1, np.float32),
        np.ones((2, 3), np.float32),
        np.ones((2, 24, 3), np.float32),
        np.full((2, 24), 0.01, np.float32),
        np.full((2, 24, 3), 0.1, np.float32),
        np.array([4, np.nan], np.float32),
        np.array([0.9, 0], np.float32),
        np.array([0, 16], np.uint32),
        np.array([[True, False], [False, False]]),
    ),
    Health: Health("fusion", "fusion", 12, "running", 5, drops={"late": 1}, latency_ms={"solve": (0.5, 1.25)}),
    SourceReport: source("cam1"),
    End: End("cam1", 10, 0, "end of file"),
    Ack: Ack("recorder", "cam1", 7),
    Hello: Hello("cam1", 3),
    PreviewWish: PreviewWish(7_000_000_000, 480, 5.0),
    Preview: Preview("cam1", 7, 123, b"\xff\xd8\xff", "halpe26", np.zeros((2, 26, 2), np.float32)),
    CommonRate: CommonRate(12.0, 5_000_000_000, 60.0, "this machine holds 4 × 12 Hz of 60"),
    RigHealth: RigHealth(
        7,
        0,
        ("cam1", "cam2"),
        *(np.array([n, np.nan], np.float32) for n in range(4)),
        np.array([0, 5]),
        np.ones(2, np.float32),
        np.ones(2, np.float32),
    ),
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    return bool(a == b)


def test_every_record_of_the_registry_has_a_sample() -> None:
    assert {t.record for t in TOPICS.values()} == set(SAMPLES)


@pytest.mark.parametrize("cls", SAMPLES)
def test_a_record_comes_back_as_it_was(cls: type) -> None:
    record = SAMPLES[cls]
    back = decode(cls, encode(record))
    assert type(back) is cls
    for f in fields(cls):
        assert same(getattr(record, f.name), getattr(back, f.name)), f.name
        value = getattr(back, f.name)
        assert not isinstance(value, np.ndarray) or not value.flags.writeable
    assert encode(back) == encode(record)


@dataclass(frozen=True)
class Anything:
    """A record whose array has no shape of its own."""

    array: np.ndarray


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_arrays_of_every_dtype_and_shape_come_back(data: st.DataObject, dtype: str) -> None:
    kind = np.dtype("?" if dtype == "b1" else dtype)
    array = data.draw(hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
    order = data.draw(st.sampled_from("CF"))
    assert same(decode(Anything, encode(Anything(np.asarray(array, order=order)))).array, array)


@settings(max_examples=300)
@given(data=st.binary(max_size=200), cls=st.sampled_from(sorted(SAMPLES, key=lambda c: c.__name__)))
def test_random_bytes_raise_nothing_but_codec_error(data: bytes, cls: type) -> None:
    with pytest.raises(CodecError):
        decode(cls, data)


@settings(max_examples=400)
@given(data=st.data(), cls=st.sampled_from(sorted(SAMPLES, key=lambda c: c.__name__)))
def test_a_damaged_message_is_read_or_raises_codec_error(data: st.DataObject, cls: type) -> None:
    content = bytearray(encode(SAMPLES[cls]))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut])):
        try:
            assert type(decode(cls, damaged)) is cls
        except CodecError as e:
            assert cls.__name__ in str(e)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300)
@given(data=st.data(), cls=st.sampled_from(sorted(SAMPLES, key=lambda c: c.__name__)), value=VALUES)
def test_a_field_of_another_type_raises_codec_error(data: st.DataObject, cls: type, value: Any) -> None:
    plain = msgpack.unpackb(encode(SAMPLES[cls]), strict_map_key=False)
    plain[data.draw(st.sampled_from(sorted(plain)))] = value
    try:
        decode(cls, msgpack.packb(plain))
    except CodecError as e:
        assert cls.__name__ in str(e)


def test_a_field_that_is_new_is_left_out_and_one_that_is_old_takes_its_default() -> None:
    plain = msgpack.unpackb(encode(SAMPLES[Hello]))
    assert decode(Hello, msgpack.packb(plain | {"mood": "fine"})) is not None
    health = msgpack.unpackb(encode(SAMPLES[Health]))
    del health["note"], health["drops"]
    assert decode(Health, msgpack.packb(health)).drops == {}
    del plain["node"]
    with pytest.raises(CodecError, match=r"Hello\.node is missing"):
        decode(Hello, msgpack.packb(plain))


@pytest.mark.parametrize("array", [np.zeros(2, "f2"), np.zeros(2, object), np.zeros(2, "c8"), np.zeros(2, "M8[ns]")])
def test_other_dtypes_do_not_travel(array: np.ndarray) -> None:
    with pytest.raises(CodecError, match="do not travel"):
        encode(replace(SAMPLES[FrameSet], arrivals_ns=array))


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (["O", [1]], b"\0" * 8),  # an object is what pickle is for
        (["f4", [2**40, 2**40]], b""),
        (["f4", [-1]], b""),
        (["f4", [3]], b"\0" * 8),
        (["f4", [1] * 7], b"\0" * 4),
        (["f4", ["1"]], b"\0" * 4),
        (["f4", [True]], b"\0" * 4),
        (["f4"], b""),
        (5, b""),
    ],
)
def test_an_array_that_is_not_allowed_is_refused(head: Any, body: bytes) -> None:
    plain = msgpack.unpackb(encode(SAMPLES[FrameSet]))
    plain["frame_seqs"] = msgpack.ExtType(1, msgpack.packb(head) + body)
    # for what it is, not because the record asks for another shape
    with pytest.raises(CodecError, match=r"is not allowed|does not have 8 bytes|not a msgpack message"):
        decode(FrameSet, msgpack.packb(plain))


@given(dtype=st.sampled_from(DTYPES), shape=st.lists(st.integers(0, 2**31), max_size=7), rest=st.binary(max_size=9))
def test_the_short_way_to_read_a_head_agrees_with_the_long(dtype: str, shape: list[int], rest: bytes) -> None:
    data = msgpack.packb((dtype, shape)) + rest
    want, said = codec._any_head(data), codec._small_head(data)
    assert (said is None) == (max(shape, default=0) > 127)
    assert said is None or (said[0], list(said[1]), said[2]) == tuple(want)


@given(data=st.binary(max_size=12))
def test_the_short_way_reads_nothing_else(data: bytes) -> None:
    said = codec._small_head(data)
    assert said is None or codec._any_head(data)[1:] == (list(said[1]), said[2])


def test_shapes_and_ranges_are_checked_where_data_enters() -> None:
    with pytest.raises(CodecError, match="confidence is outside"):
        decode(Keypoints2D, encode(replace(SAMPLES[Keypoints2D], confidence=np.full((3, 26), np.nan, np.float32))))
    with pytest.raises(CodecError, match="person_ids is"):
        decode(Poses, encode(replace(SAMPLES[Poses], person_ids=np.zeros(5, np.int32))))


@pytest.mark.parametrize(("name", "said"), [("coco17", "that has 17"), ("nobody9", "that is not known")])
def test_keypoints_of_another_skeleton_than_they_say_are_refused(name: str, said: str) -> None:
    with pytest.raises(CodecError, match=f"26 joints of a skeleton '{name}' {said}"):
        decode(Keypoints2D, encode(replace(SAMPLES[Keypoints2D], skeleton=name)))


def test_an_oversized_message_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(CodecError, match="over the limit"):
        decode(End, memoryview(bytearray(MAX_MESSAGE_BYTES + 1)))


@pytest.mark.parametrize("cls", SAMPLES)
def test_the_schema_in_the_file_names_every_field(cls: type) -> None:
    schema = json.loads(json.dumps(json_schema(cls)))
    assert list(schema["properties"]) == [f.metadata.get("key", f.name) for f in fields(cls)]
    assert set(schema["required"]) <= set(schema["properties"])
    with pytest.raises(CodecError):
        decode(cls, msgpack.packb({}))


def test_the_first_array_that_is_not_of_its_shape_is_named_with_the_shape_that_it_should_have() -> None:
    def said(record: Any, **changed: Any) -> str:
        with pytest.raises(CodecError) as caught:
            decode(type(record), encode(replace(record, **changed)))
        return str(caught.value)

    views, poses = SAMPLES[Keypoints2D], SAMPLES[Poses]
    flat = said(views, keypoints_px=np.zeros((3, 52), np.float32))
    assert "keypoints_px is (3, 52) float32, expected (N, J, 2) float32" in flat
    assert "scores is (2,) float32, expected (3,) float32" in said(views, scores=np.zeros(2, np.float32))
    assert "confidence is (3, 26) float64, expected (3, 26) float32" in said(views, confidence=np.zeros((3, 26)))
    assert f"detections is (2, 9) int32, expected (2, {len(RIG)}) int32" in said(
        poses, detections=np.zeros((2, 9), np.int32)
    )
    assert "lifted is (2, 9) bool, expected (2, 26) bool" in said(poses, lifted=np.zeros((2, 9), np.bool_))
    assert decode(Poses, encode(replace(poses, lifted=np.zeros((0, 0), np.bool_)))).lifted.size == 0
    assert "arrivals_ns is (1,) int64" in said(SAMPLES[FrameSet], arrivals_ns=np.zeros(1, np.int64))


@pytest.mark.parametrize("cls", [FrameSet, Poses, Bodies, Meshes, RigHealth])
def test_the_run_of_fusion_has_the_key_that_it_always_had(cls: type) -> None:
    record = replace(SAMPLES[cls], run_index=3)
    plain = msgpack.unpackb(encode(record), strict_map_key=False)
    assert plain["epoch"] == 3 and "run_index" not in plain
    assert decode(cls, encode(record)).run_index == 3
    assert "epoch" in json_schema(cls)["required"]
