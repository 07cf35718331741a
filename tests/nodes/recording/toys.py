"""A disk that is full."""

import errno
import io


class FullDisk(io.BytesIO):
    """Takes ``room`` bytes, then is full."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.kept = b""

    def close(self) -> None:
        self.kept = self.kept or self.getvalue()
        super().close()

    def write(self, data: object) -> int:
        size = len(memoryview(data))  # type: ignore[arg-type]
        if self.tell() + size > self.room:
            super().write(bytes(memoryview(data))[: self.room - self.tell()])  # type: ignore[arg-type]
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)  # type: ignore[arg-type]
