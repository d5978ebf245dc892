"""Photos of 12 megapixels from small ones, and the same content small: what photos.py measures with.

The content of each source is brought to 4000 x 3000 and gets noise of its own, as a sensor's: without it the files
would be far smaller than a phone's, and faster to decode. JPEG, quality 90. The small copies are made from the photos
themselves, with the short side that training keeps."""
import os
import zlib
from concurrent.futures import ProcessPoolExecutor

WIDTH, HEIGHT, NOISE, QUALITY = 4000, 3000, 6.0, 90


def make(job):
    import numpy
    from PIL import Image, ImageOps
    source, photo, small, side = job
    image = Image.open(source).convert("RGB")
    image = ImageOps.fit(image, (WIDTH, HEIGHT), Image.BICUBIC)
    random = numpy.random.default_rng(zlib.crc32(os.path.basename(source).encode()))
    noise = random.normal(0, NOISE, (HEIGHT, WIDTH, 1)).astype(numpy.float32)
    pixels = numpy.clip(numpy.asarray(image, dtype=numpy.float32) + noise, 0, 255).astype(numpy.uint8)
    image = Image.fromarray(pixels)
    for path in (photo, small):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    image.resize((WIDTH * side // HEIGHT, side), Image.BILINEAR).save(small, quality=QUALITY)
    image.save(photo + ".part", "JPEG", quality=QUALITY)
    os.rename(photo + ".part", photo)  # what is there is whole


def photos(flowers, target, per_class, side, workers=2):
    """target/photos and target/small, each with train/ and val/; per_class = {"train": n, "val": m}."""
    jobs = []
    for half, count in per_class.items():
        for name in sorted(os.listdir(os.path.join(flowers, half))):
            folder = os.path.join(flowers, half, name)
            for file in sorted(os.listdir(folder))[:count]:
                to = [os.path.join(target, kind, half, name, file) for kind in ("photos", "small")]
                if not os.path.exists(to[1]):
                    jobs.append((os.path.join(folder, file), *to, side))
    with ProcessPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(make, jobs)):
            if done % 50 == 49:
                print(f"{done + 1} of {len(jobs)} photos", flush=True)
