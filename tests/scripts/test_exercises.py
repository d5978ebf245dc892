"""Each exercise of docs/exercises.md: planted, its check fails as the page says; mended, it passes.

  test_exercises.py FOLDER [NUMBER...] [--cmake=WORDS]     FOLDER keeps the copy and its build
"""
import argparse
import pathlib
import re
import subprocess

TREE = pathlib.Path(__file__).resolve().parents[2]
PAGE = (TREE / "docs/exercises.md").read_text()


def exercise(args, *words):
    done = subprocess.run([TREE / "scripts/exercise", *map(str, words), "--folder", args.folder, f"--cmake={args.cmake}"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def sections():
    """Of each exercise on the page: its number, its symptom, what its check says while the bug is there."""
    for part in PAGE.split("\n## ")[1:]:
        if heading := re.match(r"(\d+)\. ", part):
            said = re.search(r"^not mended: (.*)$", part, re.MULTILINE)
            assert said, f"exercise {heading[1]} does not show what its check says"
            yield int(heading[1]), part, said[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("numbers", nargs="*", type=int)
    parser.add_argument("--cmake", default="")
    args = parser.parse_args()
    listed = subprocess.run([TREE / "scripts/exercise"], check=True, capture_output=True, text=True).stdout
    numbers = [int(line.split()[0]) for line in listed.splitlines()]
    assert [number for number, *_ in sections()] == numbers, "the page and the script have the same exercises"
    for number, part, said in sections():
        if args.numbers and number not in args.numbers:
            continue
        for command in ("plant", "check"):
            assert f"scripts/exercise {command} {number}\n" in part, f"exercise {number}: no command to {command}"
        code, printed = exercise(args, "plant", number)
        assert code == 0, printed
        code, printed = exercise(args, "check", number)
        assert code == 1 and printed.startswith(f"not mended: {said}"), f"exercise {number}, planted: {printed}"
        code, printed = exercise(args, "answer", number)
        assert code == 0 and "\n+" in printed or "\n-" in printed, printed
        code, printed = exercise(args, "check", number)
        assert code == 0 and printed.startswith("mended: "), f"exercise {number}, mended: {printed}"
        print(f"{number}: {said}", flush=True)


if __name__ == "__main__":
    main()
