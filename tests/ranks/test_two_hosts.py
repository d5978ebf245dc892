"""A job on two hosts: two network namespaces that a pair of virtual interfaces joins, each with a host name of its
own. mpirun reaches the second one with `ip netns exec` where it would use ssh. Says why, and is skipped, where
namespaces are not allowed.

    python3 tests/ranks/test_two_hosts.py --mpirun MPIRUN --module build/onecycle_mpi.so \\
        --program build/tests/ranks/ranks_program --trainer build/onecycle
"""
import contextlib
import functools
import os
import pathlib
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

from job import Job, given, left_of, main

SKIPPED = 77
INSIDE = "ONECYCLE_TEST_IN_NAMESPACE"
HOSTS = {"first": "10.77.0.1", "second": "10.77.0.2"}
ENTER = ("ip", "netns", "exec")
# What mpirun runs in place of ssh: it is given the host and the words of a command.
AGENT = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
shift
exec ip netns exec second unshare --uts sh -c "hostname second; $*"
"""


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


def enter_namespaces():
    """Starts this program again where it may make networks of its own; the system forgets them when it ends."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    unshare = ["unshare", *user, "--net", "--mount", "--uts"]
    try:
        for tried in (unshare + ["true"], ["ip", "-V"]):
            run(*tried)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"skipped: no network namespaces here: {getattr(error, 'stderr', None) or error}".strip())
        sys.exit(SKIPPED)
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*unshare, sys.executable, "-B", *sys.argv])


def make_hosts():
    for host in HOSTS:
        run("ip", "netns", "add", host)
    run("ip", "link", "add", "wire", "netns", "first", "type", "veth", "peer", "name", "wire", "netns", "second")
    for host, address in HOSTS.items():
        run(*ENTER, host, "ip", "address", "add", address + "/24", "dev", "wire")
        for link in ("lo", "wire"):
            run(*ENTER, host, "ip", "link", "set", link, "up")
    wait_until_up()


def forget_hosts():
    """With what still runs there: mpirun's part on a host that nothing reaches tries to connect for minutes."""
    for host in HOSTS:
        left = subprocess.run(["ip", "netns", "pids", host], check=True, capture_output=True, text=True).stdout
        for pid in left.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "delete", host)


def wait_until_up(seconds=30):
    """Until then the system drops what is sent; a first connection that is given up ends a job of mpirun."""
    missing = list(HOSTS)
    for _ in range(seconds * 20):
        missing = [host for host in missing if state_of(host, "operstate") != "up"]
        if not missing:
            return
        time.sleep(0.05)
    raise AssertionError(f"the network did not come up on {missing}")


def state_of(host, name):
    """What the system says of the network of a host, as text."""
    return subprocess.run([*ENTER, host, "cat", f"/sys/class/net/wire/{name}"], check=True, capture_output=True,
                          text=True).stdout.strip()


class TwoHosts(unittest.TestCase):
    def setUp(self):
        make_hosts()
        self.addCleanup(forget_hosts)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.agent = pathlib.Path(folder.name) / "agent"
        self.agent.write_text(AGENT)
        self.agent.chmod(self.agent.stat().st_mode | stat.S_IXUSR)

    def job(self, ranks, *words, more=(), **settings):
        """Half of the ranks on each host."""
        hosts = ",".join(f"{address}:{ranks // 2}" for address in HOSTS.values())
        return Job(ranks, *words, prefix=(*ENTER, "first"),
                   options=("--host", hosts, "--mca", "plm_rsh_agent", str(self.agent), *more), **settings)

    def sent(self):
        """Bytes that the first host has sent to the second."""
        return int(state_of("first", "statistics/tx_bytes"))

    def test_bytes_go_over_the_network(self):
        for ranks in (2, 4):
            with self.subTest(ranks=ranks):
                before = self.sent()
                job = self.job(ranks, "exchange").wait()
                self.assertEqual((job.code, job.errors), (0, []), job.err)
                self.assertIn(f"{ranks} ranks on 2 hosts", job.out)
                self.assertGreater(self.sent() - before, 1_000_000)

    def test_groups_of_eight_are_those_of_a_host(self):
        for order, expected in (((), "groups share"), (("--map-by", "node"), "groups do not share")):
            with self.subTest(order=order):
                job = self.job(16, "groups", more=order).wait()
                self.assertEqual((job.code, job.errors), (0, []), job.err)
                self.assertIn(expected + " machines", job.out)

    def test_a_training_has_the_bytes_of_one_host(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        place = pathlib.Path(folder.name)
        run(given.trainer, "demo-data", str(place / "images"), "--classes", "2", "--images", "10", "--size", "20")
        sent, files = [], {}
        on_one = functools.partial(Job, prefix=(*ENTER, "first"))
        for out, start in (("one", on_one), ("two", self.job)):
            job = start(2, "train", place / "images", "--arch", "resnet9", "--size", "16", "--batch-size", "4",
                        "--epochs", "2", "--threads", "1", "--max-lr", "0.01", "--out", place / out,
                        program=given.trainer).wait()
            self.assertEqual(job.code, 0, job.err)
            sent.append(self.sent())
            files[out] = {str(file.relative_to(place / out)): file.read_bytes()
                          for file in (place / out).rglob("*") if file.suffix == ".safetensors" or file.name == "steps.csv"}
        self.assertGreater(len(files["one"]), 1)
        self.assertEqual(files["one"].keys(), files["two"].keys())
        self.assertEqual([name for name in files["one"] if files["one"][name] != files["two"][name]], [])
        self.assertGreater(sent[1] - sent[0], 4 * 13_000_000)  # two steps an epoch, half of the gradients and weights

    def test_a_stopped_rank_is_named_with_its_host(self):
        job = self.job(2, "call", 60, settings={"ONECYCLE_RANK_TIMEOUT": "3"})
        os.kill(job.pids(2)[1], signal.SIGSTOP)
        job.wait(30)
        self.assertEqual(job.code, 7, job.err)
        # The launcher lets the stopped one go on before it ends it: it may find the others gone.
        lost = [line for line in job.errors if "a rank is lost" in line]
        self.assertEqual(len(lost), 1, job.err)
        self.assertIn("rank 1 on second", lost[0])

    def test_a_network_that_fails_ends_the_job_on_both(self):
        # mpirun asks every 2 s whether its part on the other host is there: docs/scale.md has these.
        settings = {"OMPI_MCA_oob_tcp_keepalive_time": "2", "OMPI_MCA_oob_tcp_keepalive_intvl": "1",
                    "OMPI_MCA_oob_tcp_keepalive_probes": "2", "ONECYCLE_RANK_TIMEOUT": "10"}
        job = self.job(2, "call", 60, settings=settings)
        pids = job.pids(2)
        run(*ENTER, "first", "ip", "link", "set", "wire", "down")
        job.wait(30)
        self.assertNotEqual(job.code, 0)
        self.assertIn(HOSTS["second"], job.err)
        self.assertEqual(left_of(pids), [])


if __name__ == "__main__":
    if INSIDE not in os.environ:
        enter_namespaces()
    run("mount", "-t", "tmpfs", "none", "/run")
    run("hostname", "first")
    main("trainer")
