"""What pyproject.toml cannot say: the folders at the top of the repository are installed as ``kinecast.capture`` … ."""

from setuptools import find_packages, setup

FLOORS = ("capture", "calibration", "engines", "nodes")

setup(
    package_dir={f"kinecast.{floor}": floor for floor in FLOORS},
    packages=[
        f"kinecast.{name}" for floor in FLOORS for name in (floor, *(f"{floor}.{p}" for p in find_packages(floor)))
    ],
)
