"""The real sample clips: four synchronised, calibrated cameras and one or two people, 100 frames at 60 Hz.

They are the demo data of Pose2Sim (D. Pagnon et al., BSD-3-Clause), carried by its pip package. Nothing of it is in
this repository: it is fetched once into the user's cache.
"""

from dataclasses import dataclass
from pathlib import Path

from kinecast.capture.cache import cache_dir
from kinecast.capture.errors import KinecastError
from kinecast.capture.fetch import fetch_from_wheel, verify

REQUIREMENT = "pose2sim==0.10.49"
LICENCE = "pose2sim-0.10.49.dist-info/licenses/LICENSE"
LICENCE_SHA256 = "7f8a9ede713463b96d261a39c3ec404748c8e4f528c795e5f8cb18898ed944cf"
CAMERAS = ("cam01", "cam02", "cam03", "cam04")
FPS_HZ = 60.0
TRIALS = {1: "Demo_SinglePerson", 2: "Demo_MultiPerson"}

# sha256 of every file that is kept; a line without one names the folder, below Pose2Sim/ in the package
_SUMS = """
Demo_SinglePerson/videos
cf4f2816c86bea4bfbea255333d8626ff32a3ecabdab8b0fb147cea9167fde3a cam01.mp4
94ff87cf978b8406e8aa36ab3c5362e72848994e87652f0dc7a33c315e8e0442 cam02.mp4
b8b329f832f178f27ecb78d024d5026b96c6adb36c387bfe2c0af85eab8a11ca cam03.mp4
b5c0e7863fd70d008e7178d3c556b045b0ea5f78fcd61ca548a0b2e807e641f7 cam04.mp4
Demo_SinglePerson/calibration
fd90e4bbae3278ef1dc0cdd42a34ee06bf88286f628a02c00a29407aa39e34c5 Calib.qca.txt
Demo_SinglePerson/calibration/extrinsics
0d366398af070147adc52f3bdac85c20720774bda04d08707504e194f98e0540 cam01_ext.png
caeadb85e619f65cb7151598f229857038a8a5fa5df624f53e1534d0e0f6fefc cam02_ext.png
9ce5e11e6a87cc1573ca29d6ce82c165b9f7d56419723d602b9ad4c1bf601369 cam03_ext.png
42e3a4dc3f2e18c67697c1579962540aaa9f1b19b6cd79769c005dd726f7559c cam04_ext.png
Demo_SinglePerson/calibration/intrinsics/int_cam01_img
209fcd011aac687b09ec18dc6220218e0027e6e1cdc6c65e8ef3dd84484636b0 cam01_01_int.jpg
f27cc818ef18cf1e36633b522614844a0e26e6981710d72d0a6c041836bc9caf cam01_02_int.jpg
0256874657462289524f5af5a496e413d85ecda4496f22cb271f784da6939371 cam01_03_int.jpg
7ebe0a89b95bbc9e5cf19d9dfdb8c5bd0e6e60a5d4dbdedd322995f5e4550db6 cam01_04_int.jpg
760b4aa8c19c4132ff30a35b26db92374859795f3464789598f5077d93ee13d0 cam01_05_int.jpg
f81f35262c7c5ea84f275c53e841759499bb666e34dea353ad657751d4f7d248 cam01_06_int.jpg
acb4ae693d82ce1548e9f3b32a2c67e803d5084c9f83a248eba19354b3341c28 cam01_07_int.jpg
Demo_SinglePerson/calibration/intrinsics/int_cam02_img
9f5afc5f8cd26ea7e89b06bce89290eae39ff99fb1ed961ef696abd362b9cb36 cam02_01_int.jpg
1affcd482ad2964b0c65322baf43df1886cb99bbe91ee823727413ede1d8051f cam02_02_int.jpg
29733426b828ae9e0765d839f7ff483b96bd112405270b773ed4527e9df6d9a1 cam02_03_int.jpg
67cf6e4f441eed049d1f6435d384832d58a2da8343286c2b82572ae2533e8e9e cam02_04_int.jpg
078b724fa8ac3d706e2b2dc0194a94acdfaeb244099ca544033000879b9d4d8c cam02_05_int.jpg
998161a5bd1d7c8275fac80feb43c3c65d00e433e20152c5f1e41f5e1ccfa0a2 cam02_06_int.jpg
81c34d19a4efc2baeed799e648a95884e11af8a558c6863d24e8123b90fcebf1 cam02_07_int.jpg
Demo_SinglePerson/calibration/intrinsics/int_cam03_img
b3243ebfbeac3ac4704aa6d0803324e4806886f24a8b639fa17e28bf703f7ece cam03_01_int.jpg
e67affe9fa749a7e6be6da38f84a097d1908dfe3870b0f5429ed2a1271a75e7c cam03_02_int.jpg
03b52dd63915f69c80b0c460b0e43f7c666a32d6a7c7f0a131dd0852ba91e381 cam03_03_int.jpg
cdafb8870ab4080d8b70fa246767e6c06dfefc959ed3f7342dd1163b0a82ac9b cam03_04_int.jpg
47c915f7d46d052898d07d51554689fdb4f05b4d4d6bcc9b6cd8dcb361154d68 cam03_05_int.jpg
d2cd3e9f85a0939b925071e14905246c3112da5fa42906a7d7a7a681bdd7d8c9 cam03_06_int.jpg
d4d26e88a9f7529f24164f0f571bdf55b1c89d1b5ed7b341df58ac9b34bfd706 cam03_07_int.jpg
Demo_SinglePerson/calibration/intrinsics/int_cam04_img
ffded5a73ee970e377e89f0004611c2377eecaa056a6cbd6407e79371fdb0330 cam04_01_int.jpg
de6a9e7e557e04846be83462851a33acaef766feda0f8060eafcee07f2d5f8d3 cam04_02_int.jpg
15bd86d07ec08b8ad3e904986464ad01d187e3ded797282e2d9d9168a69ef079 cam04_03_int.jpg
dca168dbacd4122a0ca4fb62633b1c560f7b70723a8a706a4927cf517cb62689 cam04_04_int.jpg
3f84a281687a9ab25d356655854dbd06397dcea542d760397331277bc68ee90e cam04_05_int.jpg
5c680eed1899f03c5533bbb960d34df262b692a4313d0a6accd55bcf53ba3488 cam04_06_int.jpg
f72e9e4bf989e29b3b06e2f36cb6ee3d80072ea05b9a111e2b33bfb686a76a58 cam04_07_int.jpg
Demo_MultiPerson/videos
543cee6a4c2c2b52dc9eac9137ee63d14f1f84e706a9a7264769edcb11e5ea53 cam01.mp4
8895092a7cf26359205a427b7ac2f4a935c2e0bd36d9b7a5140cb33faa468a6b cam02.mp4
d3daf48cdf9f5603868ddb99166ddaf9b12279e7ce968922926560d5fd3f0c99 cam03.mp4
1490149dc40e7301fa5ceae23862b044ba5c398a8b2a40df21ed894702728c09 cam04.mp4
Demo_MultiPerson/calibration
fd90e4bbae3278ef1dc0cdd42a34ee06bf88286f628a02c00a29407aa39e34c5 Calib.qca.txt
"""


def _sums() -> dict[str, str]:
    folder, out = "", {}
    for words in map(str.split, _SUMS.strip().splitlines()):
        if len(words) == 1:
            folder = words[0]
        else:
            out[f"{folder}/{words[1]}"] = words[0]
    return out


SHA256 = _sums()


@dataclass(frozen=True, slots=True)
class Clip:
    """Files of one trial. videos: by camera. calibration: the Qualisys file of the rig.

    boards: chessboard photos (4 × 7 inner corners, 60 mm) by camera, and extrinsic: one photo of the scene's corners
    by camera; both empty for the trial of two people.
    """

    people: int
    videos: dict[str, Path]
    calibration: Path
    boards: dict[str, tuple[Path, ...]]
    extrinsic: dict[str, Path]


def clip_dir() -> Path:
    """Where the clips are kept."""
    return cache_dir() / "clips" / REQUIREMENT.replace("==", "-")


def missing() -> list[str]:
    """What is missing or damaged, one line each; empty where the clips are whole."""
    return verify(clip_dir(), SHA256)


def fetch() -> bool:
    """Have the clips in the cache; True where they were downloaded. KinecastError says why it could not be done."""
    if not missing():
        return False
    members = {name: (f"Pose2Sim/{name}", sha256) for name, sha256 in SHA256.items()}
    members["LICENSE"] = (LICENCE, LICENCE_SHA256)
    fetch_from_wheel(REQUIREMENT, members, clip_dir())
    return True


def clip(people: int = 1) -> Clip:
    """The clip of one or two people, from the cache. KinecastError where it has not been fetched."""
    if people not in TRIALS:
        raise KinecastError(f"there is no clip of {people} people: choose one of {', '.join(map(str, TRIALS))}")
    trial = clip_dir() / TRIALS[people]
    wrong = [name for name in SHA256 if name.startswith(TRIALS[people]) and not (clip_dir() / name).is_file()]
    if wrong:
        raise KinecastError(f"{clip_dir() / wrong[0]} is missing: run `kinecast demo --fetch-only`")
    inner, outer = trial / "calibration" / "intrinsics", trial / "calibration" / "extrinsics"
    return Clip(
        people,
        {c: trial / "videos" / f"{c}.mp4" for c in CAMERAS},
        trial / "calibration" / "Calib.qca.txt",
        {
            c: tuple(sorted((inner / f"int_{c}_img").glob("*.jpg")))
            for c in CAMERAS
            if (inner / f"int_{c}_img").is_dir()
        },
        {c: outer / f"{c}_ext.png" for c in CAMERAS if (outer / f"{c}_ext.png").is_file()},
    )
