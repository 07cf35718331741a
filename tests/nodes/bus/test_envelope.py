"""What comes around a message is whole, of its types and not negative, or refused."""

from dataclasses import fields, replace

import msgpack
import pytest

from kinecast.nodes.bus.codec import CodecError
from kinecast.nodes.bus.envelope import Envelope, unpack

SOUND = Envelope("cam0", 1, 2, 3, 4, 5, 6)


def test_it_comes_back_and_a_newer_writers_fields_are_left_out() -> None:
    assert unpack(SOUND.pack()) == SOUND
    assert unpack(msgpack.packb([*msgpack.unpackb(SOUND.pack()), "new"])) == SOUND


@pytest.mark.parametrize("name", ["incarnation", "sequence", "version", "t_capture_ns", "t_publish_ns"])
def test_a_negative_number_is_refused(name: str) -> None:
    with pytest.raises(CodecError, match="negative"):
        unpack(replace(SOUND, **{name: -1}).pack())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sequence", "t_capture_ns", "t_publish_ns", "incarnation", "credit"])
def test_a_number_that_no_recording_holds_is_refused(name: str) -> None:
    with pytest.raises(CodecError, match=f"{name} of the envelope is too large"):
        unpack(replace(SOUND, **{name: 1 << 63}).pack())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [f.name for f in fields(Envelope)])
def test_another_type_is_refused(name: str) -> None:
    with pytest.raises(CodecError, match="wrong type"):
        unpack(replace(SOUND, **{name: 1.5}).pack())  # type: ignore[arg-type]


def test_what_is_no_whole_list_is_refused() -> None:
    for data in (SOUND.pack()[:-1], msgpack.packb([1, 2]), msgpack.packb({"writer": "a"})):
        with pytest.raises(CodecError):
            unpack(data)
