"""An architecture is one file and one line: no other file of the program names one, but for the default.

    test_architectures.py
"""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def names():
    text = (ROOT / "src/nn/CMakeLists.txt").read_text()
    return re.search(r"set\(ONECYCLE_ARCHITECTURES\s+([^)]*)\)", text)[1].split()


def mentions(all_names):
    """{(file, name)} in what the program and its public headers are made of."""
    found = set()
    for room in ("src", "include", "kernels", "cmake"):
        for path in (ROOT / room).rglob("*"):
            if not path.is_file() or "architectures" in path.parts:
                continue
            words = set(re.findall(r"\w+", path.read_text()))
            found |= {(str(path.relative_to(ROOT)), name) for name in all_names & words}
    return found


listed = names()
assert len(listed) > 5 and len(set(listed)) == len(listed), listed
for name in listed:
    text = (ROOT / "src/nn/architectures" / (name + ".cpp")).read_text()
    assert f"Architecture {name}() {{" in text and f'"{name}"' in text, name
default = re.search(r'default_architecture = "(\w+)"', (ROOT / "include/onecycle/network.h").read_text())[1]
assert default in listed, default
allowed = {("src/nn/CMakeLists.txt", name) for name in listed} | {("include/onecycle/network.h", default)}
strangers = mentions(set(listed)) - allowed
assert not strangers, f"these name an architecture: {sorted(strangers)}"
