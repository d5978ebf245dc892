"""A row of test_advice.py, and what its folders and files are made with."""
import shutil
from dataclasses import dataclass
from typing import Callable, Optional


@dataclass
class Row:
    provoke: str
    code: int
    says: str  # a pattern of what is printed
    advice: tuple = ()  # commands that do what it says: each must end with `then`
    then: int = 0
    typed: bool = False  # the commands are those that the message prints to be typed
    free: bool = False  # the advice leaves something to choose, such as a smaller number
    before: Optional[Callable] = None  # of the folder: makes what provokes
    after: Optional[Callable] = None  # of the folder: does what is advised and is no command
    gone: str = ""  # a pattern that following the advice makes go away
    interrupt_when: str = ""  # SIGINT comes when a file of this name is there


SMALL = "--arch resnet18 --size 32 --batch-size 4"
CURVE = "find --from-csv curve.csv"


def removed(*names):
    def remove(folder):
        for name in names:
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).unlink(missing_ok=True)
    return remove


def copied(source, target):
    return lambda folder: shutil.copytree(folder / source, folder / target, dirs_exist_ok=True)


def moved(source, target):
    def move(folder):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (folder / source).rename(folder / target)
    return move


def copied_as(source, target):
    def copy(folder):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / source, folder / target)
    return copy


def written(name, text):
    def write(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return write


def linked(name, target):
    def link(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    return link


def one_by_one(*steps):
    def do(folder):
        for step in steps:
            step(folder)
    return do


def find(folder, more=""):
    return f"find {folder} {SMALL} --steps 2 {more}".strip()
