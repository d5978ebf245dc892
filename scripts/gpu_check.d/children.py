"""Programs that are run for a stage: each is a process group that ends with its time, and nothing of it stays.

A process that was killed may have left others behind (a sanitizer its target, a compiler its workers), in whatever
group. This process adopts such orphans (PR_SET_CHILD_SUBREAPER), so that they are found below it and ended, too.
"""
import ctypes
import os
import pathlib
import signal
import subprocess
import time

SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)
libc = ctypes.CDLL(None)


def adopt_orphans():
    libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parents():
    """{process: (its parent, its name, its state)} of all that run."""
    found = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text(errors="replace").split("(", 1)[1].rsplit(")", 1)
        except (OSError, ValueError, IndexError):  # it ended meanwhile
            continue
        state, parent = rest.split()[:2]
        found[int(stat.parent.name)] = (int(parent), name, state)
    return found


def below(process):
    """{process: name} of all descendants that have not ended."""
    known, found = parents(), {}
    level = {process}
    while level:
        level = {p for p, (parent, _, _) in known.items() if parent in level and p not in found}
        found.update((p, known[p][1]) for p in level)
    return {p: name for p, name in found.items() if known[p][2] not in "ZX"}


def end_all(patience=5.0):
    """Ends every descendant; returns the names of those that would not end."""
    deadline = time.monotonic() + patience
    while left := below(os.getpid()):
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:  # as when a driver does not let go of it
            break
        time.sleep(0.02)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:  # adopted ones that have ended
            pass
    except ChildProcessError:
        pass
    return sorted(left.values())


def begin_group():
    """In a child, before its program: a group of its own, which ends when this script is killed.

    A group, no session: whoever ends the session of this script ends its children, too.
    """
    os.setpgid(0, 0)
    libc.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def run(command, environment, limit, merge=False):
    """(standard output, standard error, exit code, whether it was stopped) of a program that has `limit` seconds.

    What it printed until then is kept. `merge`: both outputs as one.
    """
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment,
                                   stderr=subprocess.STDOUT if merge else subprocess.PIPE, preexec_fn=begin_group)
    except OSError as error:
        return "", f"{command[0]}: {error.strerror}", 127, False
    deadline, ended, stopped = time.monotonic() + limit, None, False
    out = err = b""
    try:
        while True:
            try:
                out, err = process.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired as so_far:
                out, err = so_far.stdout or b"", so_far.stderr or b""
            now = time.monotonic()
            if process.returncode is None:
                process.poll()
            if process.returncode is not None:  # something that it began holds its outputs open
                ended = ended or now
            if now > deadline or (ended and now > ended + 1):
                stopped = ended is None
                end_group(process)
                out, err = rest(process, out, err)
                break
    finally:
        end_group(process)
    code = 124 if stopped else process.returncode
    return out.decode(errors="replace"), (err or b"").decode(errors="replace"), code, stopped


def end_group(process):
    if process.returncode is None:  # its number is still its own
        os.killpg(process.pid, signal.SIGKILL)
    end_all()


def rest(process, out, err):
    """What stood in the pipes of a group that was ended."""
    try:
        return process.communicate(timeout=2)
    except subprocess.TimeoutExpired as so_far:
        return so_far.stdout or out, so_far.stderr or err
