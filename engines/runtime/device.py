"""The GPU's memory and one stream, through NVIDIA's driver library alone (a live node needs no torch for it).

The driver library is the one thing that is there wherever a GPU can be used; TensorRT brings the rest of CUDA inside.
A dozen calls are enough, by ctypes. Names and codes: CUDA Driver API, "Memory Management" and "Stream Management".
"""

import ctypes
import functools
import sys
from typing import Any

from numpy.typing import NDArray

from kinecast.capture.errors import KinecastError

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


class Device:
    """GPU 0: its name, its compute capability such as (8, 9), a stream, and named buffers that grow as needed."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._buffers: dict[str, tuple[int, int]] = {}
        self.name, self.capability = describe(driver)
        handle, context, stream = ctypes.c_int(0), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(handle), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        self._handle, self._context = handle, context
        self.make_current()
        self._call("cuStreamCreate", ctypes.byref(stream), 0)
        self.stream = int(stream.value or 0)

    def make_current(self) -> None:
        """A thread must do this once before it uses the device."""
        self._call("cuCtxSetCurrent", self._context)

    def reserve(self, name: str, size: int) -> int:
        """Address of a buffer of at least ``size`` bytes; the same one as before where that is large enough."""
        address, have = self._buffers.get(name, (0, 0))
        if address and have >= size:
            return address
        if address:
            self._call("cuMemFree_v2", ctypes.c_void_p(address))
        pointer = ctypes.c_void_p()
        self._call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)))
        self._buffers[name] = (int(pointer.value or 0), max(size, 1))
        return self._buffers[name][0]

    def upload(self, name: str, array: NDArray[Any]) -> int:
        """Copy a contiguous array to its buffer, in stream order; returns the address. Keep the array until wait()."""
        address = self.reserve(name, array.nbytes)
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_void_p(address), ctypes.c_void_p(array.ctypes.data),
                   ctypes.c_size_t(array.nbytes), ctypes.c_void_p(self.stream))  # fmt: skip
        return address

    def download(self, name: str, array: NDArray[Any]) -> None:
        """Copy a buffer into a contiguous array, in stream order; it is whole after wait()."""
        address = self._buffers[name][0]
        self._call("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(array.ctypes.data), ctypes.c_void_p(address),
                   ctypes.c_size_t(array.nbytes), ctypes.c_void_p(self.stream))  # fmt: skip

    def wait(self) -> None:
        """Until all that was asked of the stream is done."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(self.stream))

    def close(self) -> None:
        """Give buffers, stream and context back; a second call does nothing."""
        if not self.stream:
            return
        for address, _ in self._buffers.values():
            self._call("cuMemFree_v2", ctypes.c_void_p(address))
        self._buffers.clear()
        self._call("cuStreamDestroy_v2", ctypes.c_void_p(self.stream))
        self.stream = 0
        self._call("cuDevicePrimaryCtxRelease_v2", self._handle)

    def _call(self, function: str, *arguments: Any) -> None:
        if code := getattr(self._driver, function)(*arguments):
            raise KinecastError(f"the GPU refused {function} with CUDA error {code}: see nvidia-smi")


def open_device() -> Device:
    """GPU 0. Raises KinecastError where there is none."""
    if why := no_gpu():
        raise KinecastError(f"TensorRT cannot run here: {why}: take runtime auto, openvino or onnxruntime")
    return Device(_driver())


def no_gpu() -> str:
    """Why there is no GPU to be used, one clause; empty where there is one."""
    driver = _driver()
    if driver is None:
        return "no NVIDIA driver"
    if code := driver.cuInit(0):
        return f"the NVIDIA driver does not start (CUDA error {code})"
    count = ctypes.c_int(0)
    if driver.cuDeviceGetCount(ctypes.byref(count)) or count.value == 0:
        return "no NVIDIA GPU"
    return ""


def gpu_capability() -> tuple[int, int]:
    """Compute capability of GPU 0, (0, 0) where there is none."""
    return (0, 0) if no_gpu() else describe(_driver())[1]


def describe(driver: Any) -> tuple[str, tuple[int, int]]:
    """Name and compute capability of GPU 0; the driver is initialised."""
    handle = ctypes.c_int(0)
    driver.cuDeviceGet(ctypes.byref(handle), 0)
    text = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(text, 256, handle)
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, handle)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, handle)
    return text.value.decode("ascii", "replace") or "GPU 0", (major.value, minor.value)


@functools.cache
def _driver() -> Any:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
