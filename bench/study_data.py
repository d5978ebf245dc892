"""The image folders of the study of learning rates: parts of real data sets, each with a training side and a large side
to evaluate. `train` looks at two images a class after each epoch (val/); what counts is test/."""
import gzip
import hashlib
import os
import random
import struct
import subprocess
import zlib

GARMENTS = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
TEST_IMAGES = 1500
SIGNS_HELD_OUT, DEMO_HELD_OUT, DEMO_IMAGES = 70, 300, 700  # a class


def listing(folder):
    """The files of a folder of class folders, by class."""
    return {name: sorted(os.path.join(folder, name, file) for file in os.listdir(os.path.join(folder, name)))
            for name in sorted(os.listdir(folder)) if os.path.isdir(os.path.join(folder, name))}


def mixed(files, salt):
    """In an order that neither names nor folders decide."""
    return sorted(files, key=lambda file: hashlib.sha256((salt + os.path.basename(file)).encode()).digest())


def link(files, folder):
    os.makedirs(folder, exist_ok=True)
    for file in files:
        os.symlink(os.path.abspath(file), os.path.join(folder, os.path.basename(file)))


def write_grey_png(path, rows):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 1)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def fashion_mnist(folder, side):
    """Fashion-MNIST's pixels, 784 bytes an image, and its labels; side: train or t10k."""
    with gzip.open(os.path.join(folder, f"{side}-images-idx3-ubyte.gz")) as file:
        pixels = file.read()[16:]
    with gzip.open(os.path.join(folder, f"{side}-labels-idx1-ubyte.gz")) as file:
        labels = file.read()[8:]
    return pixels, labels


def garment_rows(pixels, i):
    return [pixels[at:at + 28] for at in range(784 * i, 784 * (i + 1), 28)]


def make_fashion(source, target):
    for side, name, count in (("train", "train", 12000), ("test", "t10k", 4000)):
        pixels, labels = fashion_mnist(source, name)
        for i in range(count):
            folder = os.path.join(target, side, GARMENTS[labels[i]])
            os.makedirs(folder, exist_ok=True)
            write_grey_png(os.path.join(folder, f"{side}-{i:05}.png"), garment_rows(pixels, i))


def make_outfits(source, target):
    """A hundred classes: two garments in one picture, one above left, one below right."""
    for side, name, each in (("train", "train", 60), ("test", "t10k", 25)):
        pixels, labels = fashion_mnist(source, name)
        of = [[i for i in range(len(labels)) if labels[i] == garment] for garment in range(10)]
        rng = random.Random(name)
        for a in range(10):
            for b in range(10):
                folder = os.path.join(target, side, f"{GARMENTS[a]} with {GARMENTS[b]}")
                os.makedirs(folder, exist_ok=True)
                for k in range(each):
                    first, second = (garment_rows(pixels, rng.choice(of[garment])) for garment in (a, b))
                    rows = [row + bytes(28) for row in first] + [bytes(28) + row for row in second]
                    write_grey_png(os.path.join(folder, f"{side}-{a}{b}-{k:02}.png"), rows)


def make_pairs(source, target):
    """A hundred classes: two signs side by side, a number of two digits by hand. Needs Pillow."""
    from PIL import Image
    every = {digit: mixed(files, "signs") for digit, files in listing(source).items()}
    for side, each, part in (("train", 42, slice(SIGNS_HELD_OUT, None)), ("test", 15, slice(0, SIGNS_HELD_OUT))):
        rng = random.Random(side)
        for a in "0123456789":
            for b in "0123456789":
                folder = os.path.join(target, side, a + b)
                os.makedirs(folder, exist_ok=True)
                for k in range(each):
                    picture = Image.new("RGB", (100, 100))
                    for left, digit in ((0, a), (50, b)):
                        with Image.open(rng.choice(every[digit][part])) as image:
                            picture.paste(image.convert("RGB").resize((50, 100)), (left, 0))
                    picture.save(os.path.join(folder, f"{side}-{a}{b}-{k:02}.jpg"), quality=90)


class Sources:
    """The data sets of the settings. Those that are not in `data`, as bench/fetch_data makes it, are made in `work` at
    their first use; so are the settings' own folders."""

    def __init__(self, binary, data, fashion, work):
        self.binary, self.data, self.fashion, self.work = binary, data, fashion, work

    def make(self, name):
        made = os.path.join(self.work, "sources", name)
        if not os.path.exists(made):
            part = f"{made}~{os.getpid()}"
            if name.startswith("demo"):
                subprocess.run([self.binary, "demo-data", part, "--classes", name[4:], "--images", str(DEMO_IMAGES),
                                "--seed", "11"], check=True, capture_output=True)
            elif name == "pairs":
                make_pairs(os.path.join(self.data, "sign_digits"), part)
            else:
                {"fashion": make_fashion, "outfits": make_outfits}[name](self.fashion, part)
            os.rename(part, made)
        return made

    def sides(self, name):
        """Training files and evaluation files, each by class."""
        if name == "all":
            parts = [self.sides(part) for part in ("cifar", "flowers", "signs")]
            return [{label: files for part in parts for label, files in part[side].items()} for side in (0, 1)]
        if name in ("flowers", "cifar"):
            folder, test = (os.path.join(self.data, "flowers"), "val") if name == "flowers" else (
                os.path.join(self.data, "cifar10"), "test")
            return listing(os.path.join(folder, "train")), listing(os.path.join(folder, test))
        if name == "signs" or name.startswith("demo"):
            every = listing(os.path.join(self.data, "sign_digits") if name == "signs" else self.make(name))
            held = SIGNS_HELD_OUT if name == "signs" else DEMO_HELD_OUT
            every = {label: mixed(files, name) for label, files in every.items()}
            return ({label: files[held:] for label, files in every.items()},
                    {label: files[:held] for label, files in every.items()})
        made = self.make(name)
        return listing(os.path.join(made, "train")), listing(os.path.join(made, "test"))

    def folder(self, setting):
        """The setting's own folder of links: train/, val/ (two a class), test/."""
        target = os.path.join(self.work, "data", setting.name)
        if os.path.exists(target):
            return target
        train, test = self.sides(setting.data)
        labels = list(train)[:setting.classes or None]
        part = f"{target}~{os.getpid()}"
        for label, share in zip(labels, shares(setting, len(labels))):
            chosen = mixed(train[label], "train")[:share + 2]
            link(chosen[2:], os.path.join(part, "train", label))
            link(chosen[:2], os.path.join(part, "val", label))
            link(mixed(test[label], "test")[:max(1, TEST_IMAGES // len(labels))], os.path.join(part, "test", label))
        os.rename(part, target)
        return target


def shares(setting, classes):
    """The training images of each class: equal, or in a geometric fall to a tenth."""
    if not setting.unbalanced:
        return [setting.images // classes] * classes
    falls = [10 ** (-i / (classes - 1)) for i in range(classes)]
    return [max(6, round(setting.images * fall / sum(falls))) for fall in falls]
