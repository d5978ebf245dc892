"""Promises of bench/fetch_data, on small archives built like the public ones.

    python3 tests/scripts/test_fetch_data.py

Where Pillow is missing a stand-in takes its place, and the tests of real pixels are skipped.
"""
import contextlib
import hashlib
import http.server
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import struct
import sys
import tarfile
import tempfile
import threading
import types
import unittest
import unittest.mock
import zipfile

try:
    from PIL import Image
except ImportError:
    Image = None
try:
    import numpy
except ImportError:
    numpy = None

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "bench" / "fetch_data"
sys.dont_write_bytecode = True  # a script without a suffix leaves its bytecode in the source tree
loader = importlib.machinery.SourceFileLoader("fetch_data", str(SCRIPT))
fetch_data = importlib.util.module_from_spec(importlib.util.spec_from_loader("fetch_data", loader))
sys.modules["fetch_data"] = fetch_data
loader.exec_module(fetch_data)


class Picture:
    """What fetch_data asks of an image of Pillow; its file is the text WIDTHxHEIGHT."""

    def __init__(self, size, mode="RGB", data=b""):
        self.size, self.mode, self.data = tuple(size), mode, data

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def resize(self, size, how):
        return Picture(size, self.mode)

    def save(self, out, form, quality, **options):
        out.write(b"%s %dx%d q%d " % (form.encode(), *self.size, quality) + self.data)


def stand_in():
    image = types.ModuleType("PIL.Image")
    image.Resampling = types.SimpleNamespace(LANCZOS=1)
    image.open = lambda file: Picture(map(int, file.read().split(b"x")))
    image.frombytes = lambda mode, size, data: Picture(size, mode, data)
    image.merge = lambda mode, planes: Picture(planes[0].size, mode, b"".join(p.data for p in planes))
    pil = types.ModuleType("PIL")
    pil.Image = image
    return {"PIL": pil, "PIL.Image": image}


def tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def text(value):
    """A string as Python 2 pickled it."""
    return b"T" + struct.pack("<i", len(value)) + value


def batch(labels, data, by_columns=False, count=None):
    """A file of CIFAR-10: {'labels': [...], 'data': uint8 array of N x 3072}, pickled by Python 2 with protocol 2."""
    integer = lambda n: b"J" + struct.pack("<i", n)
    dtype = (b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R" + b"(K\x03" + text(b"|") + b"NNN"
             + integer(-1) + integer(-1) + b"K\x00tb")
    array = (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
             + b"(K\x01" + integer(count or len(labels)) + integer(3072) + b"\x86" + dtype
             + (b"\x88" if by_columns else b"\x89") + text(data) + b"tb")
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"labels") + listed + text(b"data") + array + b"u."


def rows(*values):
    return b"".join(bytes([v]) * 1024 + bytes([v + 1]) * 1024 + bytes([v + 2]) * 1024 for v in values)


class Server(http.server.ThreadingHTTPServer):
    """Sends one file. It breaks off after so many bytes as often as it is told, and knows ranges unless told not to."""

    def __init__(self, data, breaks=0, after=1000, ranges=True, chunked=False):
        super().__init__(("127.0.0.1", 0), Answer)
        self.data, self.breaks, self.after, self.ranges, self.chunked = data, breaks, after, ranges, chunked
        self.asked = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}/archive"


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_GET(self):
        self.server.asked.append(self.headers["Range"])
        if self.server.data is None:
            return self.send_error(404)
        begin = 0
        if self.headers["Range"] and self.server.ranges:
            begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if begin >= len(self.server.data):
                return self.send_error(416)
        rest = self.server.data[begin:]
        self.send_response(206 if begin else 200)
        if self.server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.close_connection = True
        broken = self.server.breaks > 0
        self.server.breaks -= 1
        if broken:
            rest = rest[:self.server.after]
        if self.server.chunked:
            rest = b"%x\r\n%s\r\n" % (len(rest), rest) + (b"" if broken else b"0\r\n\r\n")
        self.wfile.write(rest)


class FetchData(unittest.TestCase):
    def setUp(self):
        self.kept = contextlib.ExitStack()
        self.addCleanup(self.kept.close)
        self.folder = pathlib.Path(self.kept.enter_context(tempfile.TemporaryDirectory()))
        self.out = self.folder / "out"
        self.kept.enter_context(unittest.mock.patch.dict(os.environ, no_proxy="127.0.0.1"))
        if not Image:
            self.kept.enter_context(unittest.mock.patch.dict(sys.modules, stand_in()))

    def photograph(self, width, height, mode="RGB"):
        if not Image:
            return b"%dx%d" % (width, height)
        out = io.BytesIO()
        Image.new(mode, (width, height), 77).save(out, "JPEG", quality=95)
        return out.getvalue()

    def flowers(self, name="flowers.tgz"):
        members = {"flower_photos/LICENSE.txt": b"CC BY"}
        for flower in ("tulips", "daisy"):
            for i in (3, 1, 4, 5, 9, 2, 6, 8, 7, 0):  # an archive's order is not that of the names
                members[f"flower_photos/{flower}/{i}_ab.jpg"] = self.photograph(500, 332 if i else 640)
        return tar(self.folder / name, members)

    def signs(self, name="signs.zip"):
        with zipfile.ZipFile(self.folder / name, "w") as archive:
            archive.writestr("Signs-master/README.md", "hands")
            archive.writestr("Signs-master/Examples/example_0.JPG", "no digit")
            for digit in range(10):
                archive.writestr(f"Signs-master/Dataset/{digit}/IMG_{digit}.JPG", f"photograph {digit}" * 100)
        return self.folder / name

    def like(self, name, archive=None, **changes):
        """Has the set's size and digest as those of a small archive."""
        digest = ("sha256", hashlib.sha256(archive.read_bytes()).hexdigest()) if archive else None
        small = {"flowers": {"train": 16, "val": 4}, "cifar10": {"train": 5, "test": 1}, "sign_digits": {".": 10}}[name]
        changed = fetch_data.dataclasses.replace(fetch_data.SETS[name], **{"counts": small, "digest": digest,
                                                                          "contents": None, **changes})
        self.kept.enter_context(unittest.mock.patch.dict(fetch_data.SETS, {name: changed}))

    def call(self, *words):
        """The exit code and the lines on stderr."""
        err = io.StringIO()
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()) as self.said:
            code = fetch_data.main([str(self.out), *map(str, words)])
        return code, err.getvalue().splitlines()

    def assertFails(self, answer, code, *pieces):
        self.assertEqual(answer[0], code, answer[1])
        self.assertEqual(len(answer[1]), 1, answer[1])
        self.assertRegex(answer[1][0], "^error: .+: .+; fix: .+")
        for piece in pieces:
            self.assertIn(piece, answer[1][0])

    def assertNothing(self, name):
        self.assertEqual([p.name for p in self.out.glob(name + "*")], [])

    def files(self, name):
        return sorted(str(p.relative_to(self.out / name)) for p in (self.out / name).rglob("*") if p.is_file())

    def test_the_flowers_held_out_are_those_of_the_results(self):
        """The positions, from the names in the folders that the results used; ten: NumPy's documented permutation."""
        cases = ((633, 127, [2, 10, 24, 29, 30, 31, 39, 41]), (898, 180, [5, 10, 23, 25, 30, 31, 33, 39]),
                 (641, 129, [2, 6, 10, 24, 30, 31, 39, 41]), (699, 140, [2, 6, 10, 24, 30, 31, 39, 41]),
                 (799, 160, [2, 7, 10, 23, 29, 30, 31, 33]))
        for count, held, first in cases:
            found = fetch_data.held_out(count)
            self.assertEqual((len(found), sorted(found)[:8]), (held, first))
        self.assertEqual(fetch_data.held_out(10), {8, 1})
        self.assertEqual(sum(len(fetch_data.held_out(n)) for n in (633, 898, 641, 699, 799)),
                         fetch_data.SETS["flowers"].counts["val"])

    @unittest.skipUnless(numpy, "NumPy is not here")
    def test_the_permutation_is_numpys(self):
        for seed, count in ((42, 1), (42, 2), (42, 1000), (0, 257), (7, 4096)):
            expected = numpy.random.RandomState(seed).permutation(count)[:-(-count // 5)]
            self.assertEqual(fetch_data.held_out(count, seed), set(expected.tolist()))

    def test_flowers_are_split_by_name_and_get_a_shorter_side_of_160(self):
        archive = self.flowers()
        self.like("flowers", archive)
        self.assertEqual(self.call("--only", "flowers", "--flowers", archive), (0, []))
        expected = [f"{'val' if i in (1, 8) else 'train'}/{flower}/{i}_ab.jpg"
                    for flower in ("daisy", "tulips") for i in range(10)]
        self.assertEqual(self.files("flowers"), sorted(expected))
        for name, size in (("train/daisy/0_ab.jpg", (160, 205)), ("val/daisy/1_ab.jpg", (241, 160))):
            if Image:
                with Image.open(self.out / "flowers" / name) as image:
                    self.assertEqual(image.size, size)
                    # Standard tables at quality 75: the steps of the lowest frequency are 8 and 9.
                    self.assertEqual([table[0] for table in image.quantization.values()], [8, 9])
            else:
                self.assertEqual((self.out / "flowers" / name).read_bytes(), b"JPEG %dx%d q75 " % size)

    @unittest.skipUnless(Image, "Pillow is not here")
    def test_grey_photographs_stay_grey(self):
        archive = tar(self.folder / "grey.tgz", {"f/daisy/1.jpg": self.photograph(320, 320, "L")})
        ((path, image),) = fetch_data.flowers(archive)
        self.assertEqual((path, Image.open(io.BytesIO(image)).mode), ("val/daisy/1.jpg", "L"))

    def cifar(self, **changes):
        files = {f"data_batch_{i}": batch([3], rows(20 * i)) for i in range(1, 6)}
        files["test_batch"] = batch([9], rows(200))
        files.update(changes)
        return tar(self.folder / "cifar.tgz",
                   {f"cifar-10-batches-py/{name}": files[name] for name in sorted(files, reverse=True)})

    def test_cifar_is_numbered_by_class_in_the_order_of_its_batches(self):
        archive = self.cifar()
        self.like("cifar10", archive)
        self.assertEqual(self.call("--only", "cifar10", "--cifar", archive), (0, []))
        self.assertEqual(self.files("cifar10"), ["test/truck/0000.jpg", *(f"train/cat/{i:04}.jpg" for i in range(5))])
        for i in range(5):
            value, path = 20 * (i + 1), self.out / f"cifar10/train/cat/{i:04}.jpg"
            if Image:
                with Image.open(path) as image:
                    self.assertEqual((image.size, image.mode), ((32, 32), "RGB"))
                    for got, meant in zip(image.getpixel((16, 16)), (value, value + 1, value + 2)):
                        self.assertLessEqual(abs(got - meant), 3)
            else:
                self.assertEqual(path.read_bytes(), b"JPEG 32x32 q75 " + rows(value))

    def test_an_array_is_read_by_rows_or_by_columns(self):
        data = bytes(i % 251 for i in range(2 * 3072))
        turned = bytes(data[r * 3072 + c] for c in range(3072) for r in range(2))
        for stored in (batch([0, 1], data), batch([0, 1], turned, by_columns=True)):
            read = fetch_data.Batch(io.BytesIO(stored), encoding="bytes").load()
            self.assertEqual(list(read[b"data"].rows()), [data[:3072], data[3072:]])
            if numpy:
                import pickle
                self.assertEqual(pickle.loads(stored, encoding="bytes")[b"data"].tobytes(), data)

    def test_a_batch_that_names_anything_but_arrays_is_refused(self):
        mark = self.folder / "ran"
        evil = b"\x80\x02cos\nsystem\n" + text(f"touch {mark}".encode()) + b"\x85R."
        archive = self.cifar(data_batch_1=evil)
        self.like("cifar10", archive)
        answer = self.call("--only", "cifar10", "--cifar", archive)
        self.assertFails(answer, 3, str(archive), "system has no place in it")
        self.assertFalse(mark.exists())
        self.assertNothing("cifar10")

    def test_labels_without_images_and_images_without_labels_are_damage(self):
        wrong_batches = (batch([3, 3], rows(20)), batch([3, 3], rows(20), count=1), batch([3], rows(20, 40)),
                         batch([10], rows(20)), b"", b"\x80\x02}.")
        for wrong in wrong_batches:
            archive = self.cifar(data_batch_2=wrong)
            self.like("cifar10", archive)
            self.assertFails(self.call("--only", "cifar10", "--cifar", archive), 3, "damaged archive", str(archive))
            self.assertNothing("cifar10")

    def test_sign_digits_are_the_published_bytes(self):
        self.like("sign_digits")
        self.assertEqual(self.call("--only", "sign_digits", "--signs", self.signs()), (0, []))
        self.assertEqual(self.files("sign_digits"), [f"{d}/IMG_{d}.JPG" for d in range(10)])
        self.assertEqual((self.out / "sign_digits/7/IMG_7.JPG").read_text(), "photograph 7" * 100)

    def test_other_images_than_those_of_the_results_are_named(self):
        digests = [hashlib.sha256((f"photograph {d}" * 100).encode()).hexdigest() for d in range(10)]
        lines = "".join(f"{digest}  {d}/IMG_{d}.JPG\n" for d, digest in enumerate(digests))
        for contents, warned in ((hashlib.sha256(lines.encode()).hexdigest(), 0), ("0" * 64, 1)):
            self.like("sign_digits", contents=contents)
            code, said = self.call("--only", "sign_digits", "--signs", self.signs())
            self.assertEqual((code, len(said)), (0, warned), said)
            fetch_data.shutil.rmtree(self.out)

    def test_a_second_call_finds_it_there_and_touches_nothing(self):
        archive = self.flowers()
        self.like("flowers", archive)
        self.call("--only", "flowers", "--flowers", archive)
        before = {p: p.stat().st_mtime_ns for p in self.out.rglob("*")}
        archive.unlink()
        self.assertEqual(self.call("--only", "flowers"), (0, []))
        self.assertIn("is there", self.said.getvalue())
        self.assertEqual({p: p.stat().st_mtime_ns for p in self.out.rglob("*")}, before)

    def test_a_folder_with_other_images_is_not_taken_for_the_set(self):
        archive = self.flowers()
        self.like("flowers", archive)
        self.call("--only", "flowers", "--flowers", archive)
        (self.out / "flowers/val/daisy/8_ab.jpg").unlink()
        self.assertFails(self.call("--only", "flowers"), 3, "out/flowers: 3 for val, 4 belong there", "move")

    def test_an_archive_with_the_wrong_digest_is_not_unpacked(self):
        archive = self.flowers()
        self.like("flowers", archive)
        changed = bytearray(archive.read_bytes())
        changed[len(changed) // 2] ^= 1
        archive.write_bytes(changed)
        answer = self.call("--only", "flowers", "--flowers", archive)
        self.assertFails(answer, 3, "wrong archive", str(archive), "sha256")
        self.assertNothing("flowers")
        self.assertTrue(archive.exists(), "the user's own file stays")

    def test_a_damaged_archive_leaves_nothing(self):
        cases = []
        for name, make in (("flowers", self.flowers), ("cifar10", self.cifar), ("sign_digits", self.signs)):
            whole = make().read_bytes()
            changed = bytearray(whole)
            changed[len(whole) // 2] ^= 0xFF
            cases += [(name, "cut short", whole[:len(whole) * 2 // 3]), (name, "one byte", bytes(changed)),
                      (name, "empty", b""), (name, "a page", b"<html>not found</html>")]
        for name, kind, data in cases:
            with self.subTest(name=name, kind=kind):
                archive = self.folder / "damaged"
                archive.write_bytes(data)
                self.like(name, None if name == "sign_digits" else archive)
                answer = self.call("--only", name, f"--{fetch_data.SETS[name].option}", archive)
                self.assertFails(answer, 3, str(archive), "fix: get http")
                self.assertNothing(name)

    def test_an_archive_with_images_missing_makes_no_folder(self):
        archive = self.flowers()
        self.like("flowers", archive, counts={"train": 17, "val": 4})
        answer = self.call("--only", "flowers", "--flowers", archive)
        self.assertFails(answer, 3, f"{archive}: 16 for train, 17 belong there")
        self.assertNothing("flowers")

    def test_an_interrupted_run_leaves_no_folder_and_the_next_is_whole(self):
        archive = self.signs()
        whole = fetch_data.sign_digits

        def interrupted(path):
            for i, image in enumerate(whole(path)):
                if i == 3:
                    raise KeyboardInterrupt
                yield image
        self.like("sign_digits", images=interrupted)
        self.assertEqual(self.call("--only", "sign_digits", "--signs", archive)[0], 130)
        self.assertNothing("sign_digits")
        killed = self.out / "sign_digits.part" / "0"  # what a kill leaves
        killed.mkdir(parents=True)
        (killed / "IMG_half.JPG").write_text("ha")
        self.like("sign_digits", images=whole)
        self.assertEqual(self.call("--only", "sign_digits", "--signs", archive), (0, []))
        self.assertEqual(len(self.files("sign_digits")), 10)
        self.assertEqual([p.name for p in self.out.iterdir()], ["sign_digits"])

    def serve(self, name, archive, **how):
        server = Server(archive.read_bytes() if archive else None, **how)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.like(name, archive, url=server.url)
        return server

    def test_a_download_that_breaks_off_is_gone_on_with(self):
        archive = self.signs()
        size = archive.stat().st_size
        server = self.serve("sign_digits", archive, breaks=2)
        self.assertEqual(self.call("--only", "sign_digits"), (0, []))
        self.assertEqual(server.asked, [None, "bytes=1000-", "bytes=2000-"])
        self.assertEqual((self.out / "archives/sign_digits.zip").read_bytes(), archive.read_bytes())
        self.assertEqual(len(self.files("sign_digits")), 10)
        self.assertLess(2000, size)
        self.assertEqual(self.call("--only", "sign_digits"), (0, []))
        self.assertEqual(len(server.asked), 3, "the second call downloads nothing")

    def test_the_next_call_goes_on_with_the_part_of_the_last(self):
        archive = self.signs()
        server = self.serve("sign_digits", archive)
        part = self.out / "archives/sign_digits.zip.part"
        part.parent.mkdir(parents=True)
        for have in (700, archive.stat().st_size):  # and one that is whole but for its name
            part.write_bytes(archive.read_bytes()[:have])
            self.assertEqual(self.call("--only", "sign_digits"), (0, []))
            self.assertEqual(server.asked.pop(), f"bytes={have}-")
            fetch_data.shutil.rmtree(self.out / "sign_digits")
            (self.out / "archives/sign_digits.zip").unlink()

    def test_a_server_without_ranges_sends_it_anew(self):
        archive = self.signs()
        for chunked in (False, True):
            server = self.serve("sign_digits", archive, ranges=False, breaks=1, chunked=chunked)
            self.assertEqual(self.call("--only", "sign_digits"), (0, []))
            self.assertEqual(len(server.asked), 2)
            fetch_data.shutil.rmtree(self.out)

    def test_a_download_that_fails_is_one_line_and_costs_no_other_set(self):
        flowers = self.flowers()
        self.like("flowers", flowers)
        for archive, breaks in ((None, 0), (self.signs(), 99)):  # no such page; a line that breaks at once
            server = self.serve("sign_digits", archive, breaks=breaks, after=0)
            answer = self.call("--only", "sign_digits", "flowers", "--flowers", flowers)
            self.assertFails(answer, 5, server.url, "--signs FILE")
            self.assertNothing("sign_digits")
            self.assertEqual(len(self.files("flowers")), 20)

    def test_a_wrong_download_is_removed_so_that_the_next_call_can_be_right(self):
        archive = self.flowers()
        server = self.serve("flowers", archive)
        right, server.data = server.data, b"<html>log in first</html>"
        self.assertFails(self.call("--only", "flowers"), 3, "wrong archive", "downloads anew")
        server.data = right
        self.assertEqual(self.call("--only", "flowers"), (0, []))

    def test_without_pillow_one_line_says_so_before_anything_is_downloaded(self):
        server = self.serve("flowers", self.flowers())
        with unittest.mock.patch.dict(sys.modules, {"PIL": None, "PIL.Image": None}):
            self.assertFails(self.call("--only", "flowers"), 5, "Pillow is missing", "python3-pil")
            self.like("sign_digits")
            self.assertEqual(self.call("--only", "sign_digits", "--signs", self.signs()), (0, []), "it needs none")
        self.assertEqual(server.asked, [])

    def test_a_file_that_is_not_there_and_a_folder_that_cannot_be_written_are_named(self):
        self.like("sign_digits")
        self.assertFails(self.call("--only", "sign_digits", "--signs", self.folder / "none.zip"), 5, "none.zip")
        self.out.write_text("a file")
        self.assertFails(self.call("--only", "sign_digits", "--signs", self.signs()), 5, str(self.out))


if __name__ == "__main__":
    unittest.main()
