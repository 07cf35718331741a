"""Addresses of streams: told from files, opened with their secrets, spoken of without.

A launch file may hold ``${NAME}`` for an environment variable or ``${keyring:SERVICE/USER}`` for an entry of the
system's keyring in an address. They are filled in when a stream is opened, and nowhere else.
"""

import ipaddress
import os
import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from kinecast.capture.errors import KinecastError

REMOTE_FILES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".wmv"}
URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")
STAND_IN = re.compile(r"\$\{([^{}]*)\}")
# user:password@ up to the last @ before the path: cameras' passwords have @ in them
_USER = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s'\"]*@")
# ?user=… &password=… and, as some cameras have them in the path, user=…_password=…
_NAMED = re.compile(
    r"(?i)((?:user(?:name)?|usr|login|pass(?:word|wd|phrase)?|pwd|token|secret|auth|api_?key)=)"
    r"[^&\s'\"/]*?(?=_(?:user|pass|channel|stream)|[&\s'\"/;,]|$)"
)
_HIDDEN = ("headers", "cookies", "http_proxy", "password", "token", "key")


def is_url(text: str) -> bool:
    """Whether ``text`` is an address and no path (``C:\\x`` is none)."""
    return bool(URL.match(text))


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens on ``host``: an address or ``localhost``, no other name."""
    return host == "localhost" or (is_ip_address(host) and ipaddress.ip_address(host).is_loopback)


def is_ip_address(host: str) -> bool:
    """Whether it is an IP address, which nobody can bind anew as they can a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def file_of(url: str) -> str | None:
    """The path of a ``file://`` address, None of any other."""
    return url[len("file://") :] if url.lower().startswith("file://") else None


def is_remote_file(text: str) -> bool:
    """Whether ``text`` is the address of a video file on a web server, which has an end and may be read at any pace."""
    if not text.lower().startswith(("http://", "https://")):
        return False
    return PurePosixPath(urlsplit(text).path).suffix.lower() in REMOTE_FILES


def kind_and_path(kind: Any, uri: str) -> tuple[Any, str]:
    """``kind`` and ``uri`` as they are meant: an address where a file is expected is a stream, ``file://…`` a path, and
    a video file on a web server (``http://…/clip.mp4``) a file, except where it is said to be a stream.
    """
    path = file_of(uri)
    if path is not None:
        return ("video" if kind == "stream" else kind), path
    if kind == "video" and is_remote_file(uri):
        return kind, uri
    return ("stream", uri) if kind in ("video", "images", "usb") and is_url(uri) else (kind, uri)


def unset(*texts: str) -> list[str]:
    """Names of the environment variables that these texts want and that are not set."""
    names = [n.strip() for text in texts for n in STAND_IN.findall(text)]
    return [n for n in names if not n.startswith("keyring:") and n not in os.environ]


def redacted(text: str) -> str:
    """``text`` without the users and passwords of the addresses in it."""
    return _NAMED.sub(lambda m: m[1] + "***", _USER.sub(lambda m: m[1], text))


def redacted_options(options: dict[str, str]) -> dict[str, str]:
    """FFmpeg's options with everything hidden that may hold a secret."""
    return {k: "***" if any(h in k.lower() for h in _HIDDEN) else redacted(v) for k, v in options.items()}


def has_user(url: str) -> bool:
    """Whether a user stands in the address."""
    return bool(_USER.match(url)) or bool(_NAMED.search(url))


def filled_in(text: str, what: str) -> str:
    """``text`` with its environment variables and keyring entries in place.

    Where they stand before the @ of an address they are quoted, so that a password may have any letters. what: says in
    errors whose address it is. Raises KinecastError naming what is missing; a secret is never part of it.
    """
    head = _USER.match(text)
    end = head.end() if head else 0

    def value(match: re.Match[str]) -> str:
        found = _value(match[1].strip(), what)
        return quote(found, safe="") if match.end() <= end else found

    return STAND_IN.sub(value, text)


def _value(name: str, what: str) -> str:
    service, slash, user = name.removeprefix("keyring:").rpartition("/")
    if not name.startswith("keyring:"):
        if name not in os.environ:
            raise KinecastError(f"{what}: ${{{name}}} is not set in the environment: export {name}=…")
        return os.environ[name]
    if not slash:
        raise KinecastError(f"{what}: ${{{name}}} must be ${{keyring:SERVICE/USER}}")
    try:
        import keyring
    except ModuleNotFoundError:
        raise KinecastError(f"{what}: ${{{name}}} needs the package keyring: pip install keyring") from None
    try:
        secret = keyring.get_password(service, user)
    except Exception as e:  # every keyring has errors of its own
        raise KinecastError(f"{what}: the keyring does not open for ${{{name}}}: {type(e).__name__}") from None
    if secret is None:
        raise KinecastError(f"{what}: there is no entry for ${{{name}}}: keyring set {service} {user}")
    return str(secret)
