"""The rows of test_advice.py about images: folders, shards, labels."""
import gzip
import shutil
import tarfile

from advice_row import Row, copied, find, moved, one_by_one, removed, written


def folder_rows():
    """Folders that cannot be trained on."""
    good = find("data")
    yield Row(find("missing"), 3, "no such folder", (good,), free=True)
    yield Row(find("curve.csv"), 3, "is a file", (good,), free=True)

    def sort_into_classes(folder):
        for k, image in enumerate(sorted((folder / "flat").iterdir())):
            moved(image, "flat/" + "ab"[k % 2] + "/" + image.name)(folder)
    yield Row(find("flat"), 3, "no class folders; found 6 images", before=copied("data/rings", "flat"),
              after=sort_into_classes, advice=(find("flat"),))
    yield Row(find("half"), 3, "has val/ but no train/",
              before=one_by_one(copied("data", "half/val"), copied("data", "half/rest")),
              after=moved("half/rest", "half/train"), advice=(find("half"),))
    yield Row(find("half2"), 3, "has val/ but no train/", before=copied("data", "half2/val"),
              advice=(find("half2/val"),), free=True)
    yield Row(find("sides"), 3, "class 'more' is not among the training classes",
              before=one_by_one(copied("data", "sides/train"), copied("data", "sides/val"),
                                copied("data/rings", "sides/val/more")),
              after=removed("sides/val/more"), advice=(find("sides"),))
    one_bad = one_by_one(copied("data", "onebad"), written("onebad/rings/text.jpg", "<html>"))
    yield Row(find("onebad", "--bad-images fail"), 3, "cannot use image", before=one_bad,
              advice=(find("onebad", "--bad-images skip --max-bad 8%"),))
    yield Row(find("onebad", "--bad-images fail"), 3, "cannot use image", before=one_bad,
              after=removed("onebad/rings/text.jpg"), advice=(find("onebad", "--bad-images fail"),))
    yield Row(find("onebad"), 3, "cannot be used", before=one_bad, advice=(find("onebad", "--max-bad 8%"),))
    two_bad = one_by_one(one_bad, written("onebad/rings/empty.jpg", ""))
    yield Row(find("onebad", "--bad-images fail"), 3, "2 of 14", before=two_bad,
              advice=(find("onebad", "--bad-images skip --max-bad 15%"),))
    yield Row(find("allbad"), 3, "4 of 4", (good,), free=True, before=one_by_one(
        *(written(f"allbad/{c}/{k}.jpg", "text") for c in "ab" for k in range(2))))
    yield Row(find("hollow"), 3, "no usable image", (find("hollow"),),
              before=one_by_one(written("hollow/a/x.txt", ""), written("hollow/b/x.txt", "")),
              after=one_by_one(copied("data/rings", "hollow/a"), copied("data/checkers", "hollow/b")))
    third = one_by_one(copied("data", "third"), written("third/more/x.txt", ""))
    yield Row(find("third"), 3, "a class without a usable image", (find("third"),), before=third,
              after=removed("third/more"))
    yield Row(find("alone"), 3, "only one class", (good,), before=copied("data/rings", "alone/a"), free=True)
    yield Row(find("pair"), 3, "no image for evaluation", (find("pair"),), before=one_by_one(
        copied("data", "pair"), *(removed(f"pair/{c}/000{k}.jpg", f"pair/{c}/000{k}.png")
                                  for c in ("rings", "checkers") for k in range(1, 6))),
        after=copied("data", "pair"))
    yield Row(find("nobody"), 3, "no image for evaluation", (find("nobody"),), before=one_by_one(
        copied("data", "nobody/train"), written("nobody/val/rings/x.txt", "")),
        after=copied("data/rings", "nobody/val/rings"))
    yield Row("demo-data", 2, "missing argument: DIR", ("demo-data demo/ --images 2",), free=True,
              before=removed("demo"))
    yield Row("demo-data data", 5, "not empty", ("demo-data new --images 2",), before=removed("new"), free=True)
    yield Row("demo-data curve.csv/new", 5, "cannot make folder", ("demo-data new --images 2",), free=True,
              before=removed("new"))
    yield Row("demo-data new --classes 1", 2, "between 2 and", ("demo-data new --images 2 --classes 2",), free=True,
              before=removed("new"))


def tarred(archive, *names, folder="data", cut=None, form=""):
    """An archive of what lies in a folder, perhaps without its end."""
    def make(place):
        (place / archive).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(place / archive, "w" + form) as tar:
            for name in names or sorted(p.name for p in (place / folder).iterdir()):
                tar.add(place / folder / name, name)
        if cut:
            (place / archive).write_bytes((place / archive).read_bytes()[:cut])
    return make


def shard_rows():
    """Archives of images, and what makes them."""
    yield Row(find("cut.tar"), 3, "it is cut off", (find("cut.tar"),), before=tarred("cut.tar", cut=3000),
              after=tarred("cut.tar"))
    yield Row(find("parts"), 3, "it is cut off", (find("parts", "--exclude bad.tar"),),
              before=one_by_one(tarred("parts/good.tar"), tarred("parts/bad.tar", cut=3000)))
    for text, says in [("", "it is empty"), ("text " * 500, "it is no tar archive")]:
        yield Row(find("parts"), 3, says, (find("parts", "--exclude bad.tar"),),
                  before=one_by_one(tarred("parts/good.tar"), written("parts/bad.tar", text)))

    def unpack(place):
        (place / "small.tar").write_bytes(gzip.decompress((place / "small.tar.gz").read_bytes()))
    yield Row(find("small.tar.gz"), 3, "it is compressed \\(gzip\\).*gunzip < small.tar.gz > small.tar",
              (find("small.tar"),), before=tarred("small.tar.gz", form=":gz"), after=unpack)

    def unpack_in_folder(place):
        (place / "parts/zipped-unpacked.tar").write_bytes(gzip.decompress((place / "parts/zipped.tar").read_bytes()))
        (place / "parts/zipped.tar").unlink()
    yield Row(find("parts"), 3, "gunzip < .*zipped.tar > .*zipped-unpacked.tar && rm .*zipped.tar", (find("parts"),),
              before=one_by_one(removed("parts"), tarred("parts/good.tar", "rings"),
                                tarred("parts/zipped.tar", "checkers", form=":gz")),
              after=unpack_in_folder)

    def damage(place):
        tarred("damaged.tar")(place)
        with tarfile.open(place / "damaged.tar") as tar:
            second = tar.getmembers()[2].offset
        data = bytearray((place / "damaged.tar").read_bytes())
        data[second:second + 512] = b"x" * 512
        (place / "damaged.tar").write_bytes(data)
    yield Row(find("damaged.tar"), 3, "it is damaged", (find("damaged.tar"),), before=damage,
              after=tarred("damaged.tar"))
    both = one_by_one(copied("data", "both"), tarred("both/copy.tar"))
    yield Row(find("both"), 3, "lie beside images", (find("both", "--exclude '*.tar'"),), before=both)
    yield Row(find("both"), 3, "lie beside images", (find("both"),), before=both, after=removed("both/copy.tar"))

    def numbered(place):
        (place / "numbered").mkdir(exist_ok=True)
        with tarfile.open(place / "numbered/all.tar", "w") as tar:
            for k, image in enumerate(sorted((place / "data").rglob("*.*"))):
                tar.add(image, f"{k}{image.suffix}")
                (place / "number").write_text(str(k % 2))
                tar.add(place / "number", f"{k}.cls")
    yield Row(find("numbered"), 3, "the line is empty", (find("numbered"),),
              before=one_by_one(numbered, written("numbered/classes.txt", "a\n\nb\n")),
              after=written("numbered/classes.txt", "a\nb\n"))
    yield Row(find("numbered"), 3, "stands there twice", (find("numbered"),),
              before=one_by_one(numbered, written("numbered/classes.txt", "a\na\n")),
              after=removed("numbered/classes.txt"))
    yield Row("pack data", 2, "missing option: -o", ("pack data -o shards/",), free=True, before=removed("shards"))
    yield Row("pack data -o shards --size 0", 2, "must lie between", ("pack data -o shards --size 256",), free=True,
              before=removed("shards"))
    yield Row("pack data -o shards --size 70000", 2, "must lie between", ("pack data -o shards --size 256",), free=True,
              before=removed("shards"))
    yield Row("pack data -o shards --quality 900", 2, "--quality 900: it must lie", ("pack data -o shards",), free=True,
              before=removed("shards"))
    yield Row("pack data -o shards --shard-size 12", 2, "--shard-size 12: it must be", ("pack data -o shards",),
              free=True, before=removed("shards"))
    yield Row("pack data -o photos", 5, "not empty", ("pack data -o shards",), free=True, before=removed("shards"))
    yield Row("pack data -o odd", 5, "is damaged", ("pack data -o shards",), free=True,
              before=one_by_one(removed("shards"), written("odd/pack.json", "{")))

    def packed(place):
        removed("packed")(place)
        shutil.copytree(place / "shards", place / "packed")
    yield Row("pack data -o packed --size 20", 5, "other images or options", ("pack data -o packed --size 20",),
              before=packed, after=removed("packed"))


def label_rows(program):
    """Labels from a table or from the names of files."""
    images = sorted(path.relative_to(program.folder / "data") for path in (program.folder / "data").rglob("*.*"))
    table = "file,label\n" + "".join(f"{image},{image.parent}\n" for image in images)
    splits = "file,label,split\n" + "".join(f"{image},{image.parent},{'val' if k % 3 == 0 else 'train'}\n"
                                            for k, image in enumerate(images))
    by_table = find("data", "--labels t.csv")

    def bytes_written(content):
        return lambda folder: (folder / "t.csv").write_bytes(content)
    for content, says in [
            (table.encode("utf-16"), "UTF-16 text"), (b"", "the file is empty"), (b"rate,value\n1,2\n", "no column"),
            (b"file,label\ncat.jpg,\n", "is empty"), (b"file,label\ncat.jpg,a\0\n", "zero byte"),
            (b"file,label,split\ncat.jpg,a,somewhere\n", "is no split"), (b"file,label\n", "no row follows"),
            (f"file,label\n{images[0].name},a\n".encode(), "may be"),
            (f"file,label\n{images[0]},a\n{images[0]},b\n".encode(), "one label and one split"),
            (b"file,label\nnone.jpg,a\n", "no file of the table is there"),
            (splits.replace(",train\n", ",val\n").encode(), "no image is of the split train")]:
        yield Row(by_table, 3, says, (by_table,), before=bytes_written(content), after=written("t.csv", splits))
    lost = table + "".join(f"lost{k}.jpg,third\n" for k in range(2))
    yield Row(by_table + " --max-bad 0.5", 3, "class 'third' has no usable image", (by_table + " --max-bad 0.5",),
              before=written("t.csv", lost), after=written("t.csv", table))
    yield Row(by_table + " --valid data", 2, "column split", (by_table,), before=written("t.csv", splits))
    yield Row(by_table + " --valid data", 2, "column split", (by_table + " --valid data",),
              after=written("t.csv", table))

    def named_by_class(folder):
        (folder / "named").mkdir(exist_ok=True)
        for k, image in enumerate(images):
            shutil.copy(folder / "data" / image, folder / f"named/{image.parent}_{k}.jpg")
    by_name = find("named", "--label-from '^(.+)_[0-9]+[.]jpg$'")
    yield Row(find("named", "--label-from '('"), 2, "no regular expression", (by_name,), before=named_by_class)
    yield Row(find("named", "--label-from '^.+_[0-9]+[.]jpg$'"), 2, "it has no group", (by_name,))
    yield Row(by_name + " --labels t.csv", 2, "both say the labels", (by_name, by_table), free=True)
    yield Row(find("named", "--label-from '(x+)[.]bmp$'"), 3, "every image is not matched", (by_name,), free=True)
    yield Row(find("void", "--label-from '(x+)'"), 3, "found no image", (by_name,), free=True,
              before=written("void/x.txt", ""))
    yield Row(find("data", "--max-pixels 100"), 3, "--max-pixels 1600 allows it", (find("data", "--max-pixels 100000"),),
              free=True)
