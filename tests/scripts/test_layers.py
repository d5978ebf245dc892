"""The rooms of the house and what each may include: a room that is not named here may not be included.

    python3 tests/scripts/test_layers.py

A wrong include of inline code compiles, for every layer sees all of src. So this reads the includes.
A public header belongs to the room that holds the source of its name, else to the one named below.
"""
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)

# Rooms inside rooms that have neighbours of their own to keep away from.
INNER = ["device/cuda", "device/emulated", "ops/cpu", "ops/cuda"]

MAY_INCLUDE = {
    "core": {"rules"},
    "rules": {"core"},
    "device": {"core", "rules"},
    "device/emulated": {"core", "rules", "device"},
    "device/cuda": {"core", "rules", "device", "device/emulated"},  # the emulator's words for nvcc's
    "mpi": {"device"},
    "kernels": {"core", "rules", "device/cuda", "device/emulated"},
    "ops": {"core", "rules", "device"},
    "ops/cpu": {"core", "rules", "device", "ops"},
    # What cuDNN and cuBLAS compute is computed on the emulated device by the CPU's loops.
    "ops/cuda": {"core", "rules", "device", "device/cuda", "kernels", "ops", "ops/cpu"},
    "nn": {"core", "rules", "device", "ops"},
    "data": {"core", "rules"},
    "formats": {"core"},
    "schedule": {"core", "rules"},
    "store": {"core", "formats"},
    "train": {"core", "rules", "device", "ops", "nn", "data", "formats", "schedule", "store"},
    "report": {"core", "schedule", "train"},
    "cli": {"core"},  # and public headers; what else it takes stands below
}
# From a room, but only these headers of another.
ALSO = {
    "train": {"device/cuda/machine.h", "ops/cuda/plan_book.h"},
    "cli": {"data/dataset_bytes.h", "data/folder.h", "data/image_list.h", "data/pack.h", "data/shard_index.h",
            "device/communicator.h", "device/cuda/machine.h", "device/launched_rank.h",
            "nn/program.h",
            "report/access_counts_text.h", "report/profile_text.h", "report/ranks_text.h", "report/text.h",
            "train/access_counts.h", "train/engine.h", "train/image_store.h", "train/model_info.h",
            "train/model_tensors.h", "train/profile.h", "train/ranks_forecast.h",
            "train/recorded_images.h"},
}
# Public headers that no source of a room is named after, and those that are named after several.
OWNERS = {
    "core": ["error", "log", "optimizer"],
    "data": ["demo_data"],
    "device": ["ranks"],
    "schedule": ["range_test"],
    "store": ["run_folder"],
    "train": ["export", "report"],
}
# A public header of another room that a room may see: plain structs, none of its functions.
PLAIN = {("store", "dataset")}  # BadImage


def room_of(path):
    """Of a path below src, or of one in kernels."""
    for room in INNER:
        if path.startswith(room + "/"):
            return room
    return path.split("/")[0]


def owner_of(header):
    """The room of a public header, by its name without the ending."""
    for room, headers in OWNERS.items():
        if header in headers:
            return room
    rooms = {room_of(str(source.relative_to(ROOT / "src")))
             for source in (ROOT / "src").rglob(header + ".cpp")} - {"cli"}
    if len(rooms) != 1:
        raise AssertionError(f"include/onecycle/{header}.h belongs to no one room: name it in OWNERS")
    return rooms.pop()


def wrong(room, included):
    """Why a source of this room may not include this, else None."""
    if "/" not in included:
        return "it names no room"
    header = pathlib.PurePath(included).stem
    public = included.startswith("onecycle/")
    target = owner_of(header) if public else room_of(included)
    if target == room or target in MAY_INCLUDE[room] or (public and room == "cli"):
        return None
    if included in ALSO.get(room, ()) or (public and (room, header) in PLAIN):
        return None
    return f"{room} may not include {target}" if public or room != "cli" else f"{room} may not include it"


def sources():
    for folder, base in (("src", ROOT / "src"), ("kernels", ROOT), ("include/onecycle", None)):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in SOURCES:
                yield file, room_of(str(file.relative_to(base))) if base else owner_of(file.stem)


class Layers(unittest.TestCase):
    def test_every_include_leads_to_a_room_below(self):
        seen, bad = 0, []
        for file, room in sources():
            for included in INCLUDE.findall(file.read_text()):
                seen += 1
                if room not in MAY_INCLUDE:
                    self.fail(f"{room} is a new room: say in MAY_INCLUDE what it may include")
                if why := wrong(room, included):
                    bad.append(f"{file.relative_to(ROOT)}: {included}: {why}")
        self.assertGreater(seen, 800)
        self.assertEqual(bad, [])

    def test_the_rooms_have_an_order(self):
        order, left = [], dict(MAY_INCLUDE)
        left["core"] = left["core"] - {"rules"}  # the two are one floor: tables of core, formulas of rules
        while left:
            free = [room for room, below in left.items() if not below & left.keys()]
            self.assertTrue(free, f"they include each other: {', '.join(left)}")
            for room in free:
                order.append(room)
                del left[room]
        self.assertEqual(order[0], "core")

    def test_what_climbs_is_seen(self):
        for room, included in [("device", "nn/program.h"), ("data", "formats/zip.h"), ("ops/cpu", "ops/cuda/backend.h"),
                               ("schedule", "train/stages.h"), ("nn", "onecycle/learner.h"), ("cli", "nn/state.h"),
                               ("kernels", "nn/program.h"), ("core", "error.h")]:
            self.assertIsNotNone(wrong(room, included), f"{room}: {included}")
        for room, included in [("cli", "onecycle/learner.h"), ("train", "nn/state.h"), ("store", "onecycle/log.h")]:
            self.assertIsNone(wrong(room, included), f"{room}: {included}")


if __name__ == "__main__":
    sys.exit(unittest.main())
