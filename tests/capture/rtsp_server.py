"""A real RTSP server on loopback, run by the system's Python, which has GStreamer's bindings: nothing of ours is used.

    python3 rtsp_server.py '{"port": 8554, "fps": 30, "streams": {"cam1": {"b_frames": 2, "audio": true}}}'

Every picture carries the monotonic time in milliseconds at which it was made, as 32 vertical stripes, black for 0 and
white for 1: whoever reads it on this machine knows how late it is. ``ready`` is printed once clients may come.
A stream: ``b_frames``, ``audio``, ``udp`` (nothing else is offered), ``gop`` (in pictures), ``config_interval`` (of
parameter sets, in s). All: ``fps``, ``user`` and ``password``.
"""

import json
import sys
import threading
import time
from typing import Any

BITS, WIDTH, HEIGHT = 32, 320, 240


def picture(t_ms: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """An I420 picture of the stripes of ``t_ms``."""
    stripe = width // BITS
    row = b"".join((b"\xeb" if t_ms >> bit & 1 else b"\x10") * stripe for bit in range(BITS))
    return row * height + b"\x80" * (width * height // 2)


def pipeline(stream: dict[str, Any], fps: int) -> str:
    """What GStreamer is to build for a client."""
    b_frames, gop = stream.get("b_frames", 0), stream.get("gop", fps)
    preset = "speed-preset=superfast" if b_frames else "speed-preset=ultrafast tune=zerolatency"
    video = (
        "appsrc name=src is-live=true format=time "
        f"caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={fps}/1 "
        f"! x264enc {preset} threads=1 bframes={b_frames} b-adapt=false "
        f"rc-lookahead=0 sync-lookahead=0 key-int-max={gop} bitrate=1000 "
        f"! rtph264pay name=pay0 pt=96 config-interval={stream.get('config_interval', 1)}"
    )
    sound = (
        " audiotestsrc is-live=true samplesperbuffer=160 wave=silence ! audio/x-raw,rate=8000 ! alawenc "
        "! rtppcmapay name=pay1 pt=8"
    )
    return f"( {video}{sound if stream.get('audio') else ''} )"


def feed(media: Any, fps: int, gst: Any) -> None:
    """Push a picture a frame interval from a thread of its own until the client is gone."""
    source = media.get_element().get_by_name("src")

    over = threading.Event()
    media.connect("unprepared", lambda _: over.set())

    def push() -> None:
        due = time.monotonic()
        while not over.is_set():
            now = time.monotonic()
            if now < due:
                time.sleep(due - now)
            t_ms = round(time.monotonic() * 1000)
            buffer = gst.Buffer.new_wrapped(picture(t_ms))
            clock = source.get_clock()  # none until the pipeline plays
            buffer.pts = 0 if clock is None else max(0, clock.get_time() - source.get_base_time())
            source.emit("push-buffer", buffer)  # refused while the pipeline is flushed, which is no end
            due = max(due, time.monotonic() - 1 / fps) + 1 / fps  # after a freeze it goes on, and catches up nothing

    threading.Thread(target=push, daemon=True).start()


def main() -> None:
    """Serve until killed."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

    ask = json.loads(sys.argv[1])
    fps = ask.get("fps", 30)
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=str(ask["port"]))
    mounts = server.get_mount_points()
    if "user" in ask:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(ask["user"], ask["password"]), token)
        server.set_auth(auth)
    for name, stream in ask["streams"].items():
        factory = GstRtspServer.RTSPMediaFactory(launch=pipeline(stream, fps), latency=0)
        factory.set_shared(False)
        if stream.get("udp"):
            factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
        if "user" in ask:
            factory.add_role_from_structure(
                Gst.Structure.new_from_string("user, media.factory.access=true, media.factory.construct=true")
            )
        factory.connect("media-configure", lambda _, media: feed(media, fps, Gst))
        mounts.add_factory(f"/{name}", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {ask['port']} is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
