"""Whether Python's webdataset reads what `onecycle pack` writes, and onecycle what webdataset writes.

Run: python tests/reference/check_webdataset.py build/onecycle [FOLDER]     (webdataset, Pillow, numpy)
Versions used: webdataset 1.0.2, Pillow 13.0.0, numpy 2.4.6. FOLDER: classes/*.jpg to pack; else made.

1. Packed as they are: each sample that webdataset yields has the class and, decoded by it, the pixels of its file.
2. Packed with --size: Pillow makes the same bytes of the same pixels made smaller, or pixels close to them.
3. Written by webdataset, with the class in .cls, .json or the folder, endings of any case, keys with folders and dots:
   a training ends in the bytes of the one on the folder of the same images.
"""
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import webdataset
from PIL import Image

program = pathlib.Path(sys.argv[1]).resolve()
IMAGES = "jpg;jpeg;png"


def onecycle(*words):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout + done.stderr


def make_folder(folder):
    """Two classes, and names that a packer may stumble over."""
    onecycle("demo-data", folder, "--classes", 3, "--images", 12, "--size", 40, "--quiet")
    for number, file in enumerate(sorted(folder.rglob("*.jpg"))):
        if number % 4 == 1:
            file.rename(file.with_name(f"v1.{number}.final.JPG"))
        if number % 4 == 2:
            file.rename(file.with_name(f"größe {number}.jpeg"))
        if number % 4 == 3:
            (file.parent / "deep" / "er.est").mkdir(parents=True, exist_ok=True)
            Image.open(file).save(file.parent / "deep" / "er.est" / f"{number}.png")
            file.unlink()
    long = next(iter(sorted(folder.rglob("*.JPG"))))
    long.rename(long.with_name("x" * 150 + ".jpg"))
    for number, name in enumerate(("__unknown__", "v1.0")):
        (folder / name).mkdir()
        for image in range(6):
            pixels = np.random.default_rng(10 * number + image).integers(0, 256, (30, 35, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{image}.jpg", quality=95)


def packed_name(file, folder):
    """The key that `file` gets, by the documentation: of its name's dots only the last stays, and webdataset passes
    over what lies in `__x__`."""
    path = file.relative_to(folder)
    return str(path.with_name(path.stem.replace(".", "_"))).replace("__unknown__/", "_unknown__/")


def read(shards):
    dataset = webdataset.WebDataset([str(s) for s in shards], shardshuffle=False, empty_check=False)
    return list(dataset.decode("pil").to_tuple("__key__", IMAGES, "cls"))


def pixels(file):
    return np.asarray(Image.open(file).convert("RGB"))


def check_packed(folder, place):
    files = {packed_name(f, folder): f for f in folder.rglob("*.*") if f.is_file()}
    share = sum(f.stat().st_size for f in files.values()) // 4
    onecycle("pack", folder, "-o", place / "whole", "--shard-size", share, "--quiet")
    classes = (place / "whole" / "classes.txt").read_text().splitlines()
    shards = sorted((place / "whole").glob("*.tar"))
    assert len(shards) > 1
    samples = read(shards)
    assert sorted(key for key, _, _ in samples) == sorted(files), set(files) ^ {key for key, _, _ in samples}
    for key, image, label in samples:
        assert classes[label] == files[key].relative_to(folder).parts[0], key
        assert np.array_equal(np.asarray(image), pixels(files[key])), key
    print(f"{len(samples)} images of {len(shards)} shards: classes and pixels are those of the files")

    onecycle("pack", folder, "-o", place / "small", "--size", 24, "--quiet")
    same, furthest = 0, 0
    for key, image, label in read(sorted((place / "small").glob("*.tar"))):
        whole = Image.fromarray(pixels(files[key]))
        shorter = min(whole.size)
        size = tuple(side * 24 // shorter for side in whole.size)
        stored = io.BytesIO()
        whole.resize(size, Image.Resampling.BILINEAR).save(stored, "JPEG", quality=90)
        ours, theirs = np.asarray(image).astype(int), pixels(stored).astype(int)
        assert ours.shape == theirs.shape and classes[label] == files[key].relative_to(folder).parts[0], key
        same += np.array_equal(ours, theirs)
        furthest = max(furthest, np.abs(ours - theirs).max())
    print(f"made smaller: {same} of {len(samples)} have the pixels that Pillow makes, the others within {furthest}")


def trained(data, run):
    onecycle("train", data, "--out", run, "--arch", "resnet9", "--size", 16, "--batch-size", 4, "--epochs", 1,
             "--max-lr", 0.01, "--threads", 1, "--cache", "off", "--quiet")
    return (sorted((run / "checkpoints").glob("*.safetensors"))[-1].read_bytes(), (run / "steps.csv").read_bytes())


def check_written(place):
    """Every form has the same images under the same names, so every training is the same."""
    folder = place / "folder"
    onecycle("demo-data", folder, "--classes", 3, "--images", 8, "--size", 20, "--quiet")
    files = sorted(folder.rglob("*.*"))  # .jpg and .png
    classes = sorted({f.parent.name for f in files})
    random.Random(1).shuffle(files)
    expected = trained(folder, place / "run")

    def written(name, members, pattern="all-%06d.tar", **how):
        shards = place / name
        shards.mkdir()
        with webdataset.ShardWriter(str(shards / pattern), maxcount=9, verbose=0, **how) as writer:
            for file in files:
                writer.write({"__key__": str(file.relative_to(folder).with_suffix("")),
                              file.suffix[1:]: file.read_bytes(), **members(file)})
        assert trained(shards, place / f"run-{name}") == expected, name
        print(f"{name}: trains to the bytes of the folder")

    def number(file):
        return classes.index(file.parent.name)

    written("folders", lambda file: {})
    written("cls-numbers", lambda file: {"cls": number(file)})
    written("cls-texts", lambda file: {"cls": file.parent.name.encode()})
    written("json-numbers", lambda file: {"json": {"label": number(file), "caption": "größe", "box": [1, 2.5]}})
    written("json-texts", lambda file: {"json": {"class": file.parent.name}})
    written("cls-and-json", lambda file: {"cls": number(file), "json": {"label": number(file), "id": 7}})
    written("more-beside", lambda file: {"cls": number(file), "txt": "a caption", "pyd": {"x": 1}, "npy": np.ones(3),
                                         "seg.png": Image.new("RGB", (20, 20))})
    written("gnu", lambda file: {"cls": number(file)}, format="GNU_FORMAT")
    written("with-meta", lambda file: {"cls": number(file), "__note__": "kept"}, keep_meta=True)


def check_names(place):
    """Endings in any case, and keys with folders, dots and blanks: all images and both classes are found."""
    for name, image_ending, label_ending in (("upper", "JPG", "CLS"), ("jpeg", "jpeg", "cls"), ("png", "PNG", "json")):
        shards = place / name
        shards.mkdir()
        with webdataset.TarWriter(str(shards / "part.tar"), encoder=False) as writer:
            for k in range(6):
                image = io.BytesIO()
                Image.new("RGB", (20, 20), (k * 40, 0, 0)).save(image, "PNG" if name == "png" else "JPEG")
                label = json.dumps({"label": k % 2}) if label_ending == "json" else str(k % 2)
                writer.write({"__key__": f"a.b/c d/{k:04d}", image_ending: image.getvalue(),
                              label_ending: label.encode()})
        said = onecycle("train", shards, "--out", place / f"run-{name}", "--arch", "resnet9", "--size", 16,
                        "--epochs", 1, "--batch-size", 2, "--max-lr", 0.01, "--valid-fraction", 0, "--cache", "off")
        assert "2 classes, 6 images" in said and "0 3 + 0, 1 3 + 0" in said, said
        print(f"{name}: 6 images of two classes")


with tempfile.TemporaryDirectory() as temporary:
    place = pathlib.Path(temporary)
    source = pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else place / "made"
    if len(sys.argv) <= 2:
        make_folder(source)
    check_packed(source, place)
    check_written(place)
    check_names(place)
