"""What moves bytes between ranks, and what notices a lost one, with a program that checks each byte.

    python3 tests/ranks/test_transport.py --mpirun MPIRUN --module build/onecycle_mpi.so \\
        --program build/tests/ranks/ranks_program
"""
import os
import re
import signal
import socket
import time
import unittest

from job import Job, left_of, main


class Transport(unittest.TestCase):
    def ends_well(self, job, seconds=120):
        job.wait(seconds)
        self.assertEqual((job.code, job.err), (0, ""))
        return job

    def test_every_function_moves_every_byte(self):
        for ranks in (2, 3, 4):
            with self.subTest(ranks=ranks):
                job = self.ends_well(Job(ranks, "exchange"))
                self.assertRegex(job.out, rf"^.+ \d+\.\d+.*: {ranks} ranks on 1 hosts\n$")

    def test_messages_larger_than_mpi_counts_go_in_parts(self):
        self.ends_well(Job(3, "exchange", settings={"ONECYCLE_MPI_MESSAGE": "1000"}))

    def test_the_emulated_device_exchanges_within_a_graph(self):
        for ranks in (2, 3, 4):
            with self.subTest(ranks=ranks):
                self.ends_well(Job(ranks, "emulated"))

    def test_whole_groups_of_eight_on_a_machine_are_seen(self):
        for ranks, levels, expected in ((16, {}, "groups share"), (16, {"ONECYCLE_EXCHANGE_LEVELS": "1"}, "groups do not share"),
                                        (8, {}, "groups do not share"), (12, {}, "groups do not share")):
            with self.subTest(ranks=ranks, levels=levels):
                job = self.ends_well(Job(ranks, "groups", settings=levels, options=("--oversubscribe",)))
                self.assertIn(expected + " machines", job.out)

    def test_one_rank_needs_no_mpi(self):
        self.ends_well(Job(1, "one", module="/nowhere/onecycle_mpi.so"))
        self.ends_well(Job(1, "one", module="/nowhere/onecycle_mpi.so", launcher=False))

    def test_waiting_leaves_the_cores_to_others(self):
        job = self.ends_well(Job(2, "idle", 3))
        self.assertLess(float(re.search(r"waited: (.*)", job.out)[1]), 0.6)  # spinning: 3

    # --- refusals ---

    def refused(self, job, code, *words):
        job.wait(60)
        self.assertEqual(job.code, code, job.err)
        for word in words:
            self.assertIn(word, job.errors[0])

    def test_a_module_that_is_not_there_is_named(self):
        self.refused(Job(2, "exchange", module="/nowhere/onecycle_mpi.so"), 7, "/nowhere/onecycle_mpi.so",
                     "OMPI_COMM_WORLD_SIZE=2", "libopenmpi-dev")

    def test_a_library_that_is_no_module_is_refused(self):
        self.refused(Job(2, "exchange", module="libz.so.1"), 7, "not onecycle's")

    def test_another_mpis_launcher_is_noticed(self):
        job = Job(1, "exchange", launcher=False, settings={"PMI_SIZE": "2", "PMI_RANK": "0"})
        self.refused(job, 7, "PMI_SIZE=2", "sees one rank")

    def test_a_wrong_setting_is_named(self):
        for name, value in (("ONECYCLE_RANK_TIMEOUT", "soon"), ("ONECYCLE_RANK_TIMEOUT", "-1"),
                            ("ONECYCLE_MPI_MESSAGE", "0"), ("ONECYCLE_EXCHANGE_LEVELS", "none")):
            with self.subTest(name=name, value=value):
                self.refused(Job(2, "groups", settings={name: value}), 2, f"{name}={value}")


class LostRanks(unittest.TestCase):
    def test_a_stopped_rank_ends_the_job_with_one_line(self):
        for ranks, lost in ((2, 0), (2, 1), (4, 0), (4, 2)):
            with self.subTest(ranks=ranks, lost=lost):
                job = Job(ranks, "call", 60, settings={"ONECYCLE_RANK_TIMEOUT": "3"})
                pids = job.pids(ranks)
                os.kill(pids[lost], signal.SIGSTOP)
                began = time.monotonic()
                job.wait(30)
                self.assertLess(time.monotonic() - began, 3 + 10)
                self.assertEqual(job.code, 7)
                self.assertEqual(len(job.errors), 1, job.err)
                self.assertIn(f"a rank is lost: rank {lost} on {socket.gethostname()}: it has not answered for 3 s",
                              job.errors[0])
                self.assertEqual(left_of(pids), [])

    def test_a_killed_rank_ends_the_job(self):
        for ranks, lost in ((2, 0), (3, 1)):
            with self.subTest(ranks=ranks, lost=lost):
                job = Job(ranks, "call", 60)
                pids = job.pids(ranks)
                os.kill(pids[lost], signal.SIGKILL)
                began = time.monotonic()
                job.wait(30)
                self.assertLess(time.monotonic() - began, 10)
                self.assertEqual(job.code, 128 + signal.SIGKILL)
                self.assertIn(f"rank {lost}", job.err)  # mpirun's line
                self.assertEqual(left_of(pids), [])

    def test_a_rank_can_end_the_job_with_a_code(self):
        job = Job(3, "fail", 60)
        pids = job.pids(3)
        job.wait(30)
        self.assertEqual(job.code, 5)
        self.assertEqual(left_of(pids), [])

    def test_a_rank_that_computes_is_not_lost(self):
        job = Job(4, "compute", 6, settings={"ONECYCLE_RANK_TIMEOUT": "3"}).wait(60)
        self.assertEqual((job.code, job.err), (0, ""))

    def test_a_job_that_stood_still_as_a_whole_goes_on(self):
        job = Job(3, "call", 8, settings={"ONECYCLE_RANK_TIMEOUT": "3"})
        pids = job.pids(3)
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        time.sleep(6)
        for pid in pids.values():
            os.kill(pid, signal.SIGCONT)
        job.wait(60)
        self.assertEqual((job.code, job.err), (0, ""))

    def test_watching_can_be_left_out(self):
        job = Job(2, "call", 6, settings={"ONECYCLE_RANK_TIMEOUT": "0"})
        pids = job.pids(2)
        os.kill(pids[1], signal.SIGSTOP)
        time.sleep(5)
        os.kill(pids[1], signal.SIGCONT)
        job.wait(60)
        self.assertEqual((job.code, job.err), (0, ""))


if __name__ == "__main__":
    main()
