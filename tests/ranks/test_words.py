"""What all ranks of a job would say is said by one: help, version, and what is wrong with the command line.

    python3 tests/ranks/test_words.py --mpirun MPIRUN --module build/onecycle_mpi.so --program build/onecycle
"""
import unittest

from job import Job, main


class Words(unittest.TestCase):
    def test_an_answer_is_given_once(self):
        for words in (["--help"], ["--version"], ["help", "train"], ["train", "--help"]):
            with self.subTest(words=words):
                one, two = Job(1, *words, launcher=False).wait(), Job(2, *words).wait()
                self.assertEqual((one.code, two.code), (0, 0), two.err)
                self.assertEqual(one.out, two.out)

    def test_what_ranks_do_not_share_is_done_once(self):
        none = {"ONECYCLE_MPI_MODULE": "/no/such.so"}
        job = Job(2, "plan", "--epochs", 1, "--steps-per-epoch", 20, settings=none).wait()
        self.assertEqual(job.code, 0, job.err)
        self.assertEqual(job.out, Job(1, "plan", "--epochs", 1, "--steps-per-epoch", 20, launcher=False).wait().out)
        self.assertEqual(Job(2, "info", "/no/such", settings=none).wait().code, 4)

    def test_a_mistake_is_named_once(self):
        for words in (["train", "--no-such"], ["trian", "photos"], ["train", "photos", "--epochs"], []):
            with self.subTest(words=words):
                one, two = Job(1, *words, launcher=False).wait(), Job(2, *words).wait()
                self.assertEqual((one.code, two.code), (2, 2), two.err)
                self.assertEqual(one.errors, two.errors)
                self.assertEqual(len(two.errors), 1)

    def test_also_where_the_launcher_ends_no_rank(self):
        second = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
        job = Job(1, "train", "--no-such", launcher=False, settings=second).wait()
        self.assertEqual((job.code, job.out, job.err), (2, "", ""))

    def test_what_is_wrong_with_one_rank_is_said(self):
        second = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "ONECYCLE_MPI_MODULE": "/no/such.so"}
        job = Job(1, "train", "photos", launcher=False, settings=second).wait()
        self.assertEqual(job.code, 7)
        self.assertIn("/no/such.so", job.errors[0])


if __name__ == "__main__":
    main()
