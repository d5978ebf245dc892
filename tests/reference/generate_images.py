"""Images of every kind and what Pillow and torchvision make of them.

    python tests/reference/generate_images.py

writes tests/reference/data/images/: the files, beside each its pixels as NAME.ppm (upright RGB), and the
lists damaged.txt, resize.txt and evaluation.txt. Needs jpegtran (libjpeg-turbo-progs) for arithmetic coding.
Written with Pillow 13.0.0 (libjpeg-turbo 3.2.0), torchvision 0.26.0.
"""

import io
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms import functional as F

OUT = Path(__file__).parent / "data" / "images"
W, H = 37, 29
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/">%s</x:xmpmeta>'


def picture(width, height, seed):
    """Smooth colours with an edge and a little noise: what a photograph has, in few pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    channels = [
        127 + 100 * np.sin(x / 7 + seed) + 0 * y,
        127 + 100 * np.cos(y / 5 + x / 11),
        np.where(x + 2 * y > width, 210, 40),
    ]
    image = np.stack(channels, -1) + rng.normal(0, 8, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def ppm(name, pixels):
    pixels = np.ascontiguousarray(pixels, dtype=np.uint8)
    height, width, _ = pixels.shape
    (OUT / f"{name}.ppm").write_bytes(b"P6 %d %d 255\n" % (width, height) + pixels.tobytes())


def keep(name, data, expected=None):
    """Stores the file, and its pixels: Pillow's own unless given."""
    (OUT / name).write_bytes(data)
    if expected is None:
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    ppm(name, expected)


def saved(image, fmt, **options):
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, before=b"", idat_parts=1, interlaced=False):
    """A PNG from raw rows (bytes, without filter), for what Pillow cannot write."""
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    step = -(-len(packed) // idat_parts)
    idat = b"".join(chunk(b"IDAT", packed[k:k + step]) for k in range(0, len(packed), step))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + idat + chunk(b"IEND", b"")


def jpegs(rgb):
    image = Image.fromarray(rgb)
    for name, subsampling in (("420", 2), ("422", 1), ("444", 0)):
        keep(f"rgb_{name}.jpg", saved(image, "JPEG", quality=85, subsampling=subsampling))
    keep("grey.jpg", saved(image.convert("L"), "JPEG", quality=85))
    keep("progressive.jpg", saved(image, "JPEG", quality=85, progressive=True))
    keep("restart.jpg", saved(image, "JPEG", quality=85, restart_marker_blocks=2))
    keep("rgb_stored.jpg", saved(image, "JPEG", quality=85, keep_rgb=True))
    keep("one_pixel.jpg", saved(image.crop((5, 5, 6, 6)), "JPEG"))
    keep("trailing_bytes.jpg", saved(image, "JPEG", quality=50) + b"\0\0camera maker's trailer")
    inks = [Image.fromarray(255 - rgb[..., c]) for c in range(3)]
    cmyk = saved(Image.merge("CMYK", [*inks, Image.fromarray(rgb[..., 1] // 3)]), "JPEG", quality=90)
    keep("cmyk.jpg", cmyk)
    adobe = cmyk.index(b"Adobe")
    ycck = bytearray(cmyk)
    ycck[adobe + 11] = 2  # the transform flag: the same data, read as YCCK
    keep("ycck.jpg", bytes(ycck))
    keep("cmyk_without_adobe.jpg", cmyk[:adobe - 4] + cmyk[adobe + 12:])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        keep(f"orientation_{orientation}.jpg", saved(image, "JPEG", quality=80, exif=exif))
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + struct.pack("<I", 6) + bytes(4)
    keep("orientation_little_endian.jpg", saved(image, "JPEG", quality=80, exif=exif))
    keep("orientation_xmp.jpg", saved(image, "JPEG", quality=80, xmp=XMP % b'<x tiff:Orientation="6"/>'))
    element = XMP % b"<tiff:Orientation>8</tiff:Orientation>"
    keep("orientation_xmp_element.jpg", saved(image, "JPEG", quality=80, xmp=element))
    keep("orientation_exif_before_xmp.jpg", saved(image, "JPEG", quality=80, xmp=element, exif=exif))
    for name, options in (("arithmetic", []), ("arithmetic_progressive", ["-progressive"])):
        coded = subprocess.run(["jpegtran", "-arithmetic", *options], check=True, capture_output=True,
                               input=saved(image, "JPEG", quality=85))
        keep(f"{name}.jpg", coded.stdout)


def damaged_jpegs(rgb):
    """damaged.txt: files whose image data are damaged, and which Pillow reads, each with its pixels at 1/1 and 1/2."""
    image = Image.fromarray(rgb)
    whole = {
        "baseline": saved(image, "JPEG", quality=85),
        "progressive": saved(image, "JPEG", quality=85, progressive=True),
        "restart": saved(image, "JPEG", quality=85, restart_marker_blocks=2),
        "grey": saved(image.convert("L"), "JPEG", quality=85),
    }
    rng = np.random.default_rng(5)
    files = {}
    for name, data in whole.items():
        at = data.rindex(b"\xff\xda") + 40
        size = min(200, len(data) - at - 20)
        files[f"hole_{name}.jpg"] = data[:at] + b"\0" + b"\x5b" * (size - 1) + data[at + size:]
        noise = b"\0" + rng.integers(0, 255, size - 1, np.uint8).tobytes()  # without 255, no marker comes about
        files[f"noise_{name}.jpg"] = data[:at] + noise + data[at + size:]
    data = whole["baseline"]
    middle = len(data) - 200
    files["early_end.jpg"] = data[:middle] + b"\0\xff\xd9"
    files["segment_beyond_the_end.jpg"] = data[:middle] + b"\0\xff\xe5\xff\xff" + data[middle + 5:]
    files["segment_in_the_data.jpg"] = data[:middle] + b"\0\xff\xe5\0\x20" + data[middle + 5:]
    for name, content in files.items():
        keep(name, content)
        with Image.open(io.BytesIO(content)) as half:
            half.draft(None, (W // 2, H // 2))
            ppm(f"{name}.half", np.asarray(half.convert("RGB")))
    (OUT / "damaged.txt").write_text("\n".join(files) + "\n")


def pngs(rgb):
    image = Image.fromarray(rgb)
    grey = image.convert("L")
    keep("rgb.png", saved(image, "PNG"))
    keep("png_named.jpg", saved(image, "PNG"))
    keep("grey.png", saved(grey, "PNG"))
    keep("one_bit.png", saved(grey.convert("1"), "PNG"))
    alpha = Image.fromarray(rgb[..., 2])
    keep("grey_alpha.png", saved(Image.merge("LA", (grey, alpha)), "PNG"))
    rgba = image.copy()
    rgba.putalpha(alpha)
    keep("rgba.png", saved(rgba, "PNG"))
    keep("rgb_transparent_colour.png", saved(image, "PNG", transparency=tuple(int(v) for v in rgb[3, 3])))
    keep("grey_transparent_value.png", saved(grey, "PNG", transparency=int(rgb[3, 3, 0])))
    for colours in (2, 4, 16, 256):
        palette = image.quantize(colours)
        keep(f"palette_{colours}.png", saved(palette, "PNG"))
    keep("palette_transparency.png", saved(palette, "PNG", transparency=bytes(range(0, 200))))
    keep("one_pixel.png", saved(image.crop((5, 5, 6, 6)), "PNG"))
    exif = Image.Exif()
    exif[0x0112] = 8
    keep("orientation_8.png", saved(image, "PNG", exif=exif))

    wide = rgb.astype(np.uint16) * 256 + rgb[::-1]  # the low byte is other data: it must not be seen
    rows = lambda a: [row.astype(">u2").tobytes() for row in a]
    keep("rgb_16.png", png(W, H, 16, 2, rows(wide)), rgb)
    keep("grey_16.png", png(W, H, 16, 0, rows(wide[..., 0])), np.repeat(rgb[..., :1], 3, -1))
    keep("rgba_16.png", png(W, H, 16, 6, rows(np.dstack([wide, wide[..., 0]]))), rgb)
    plain = [row.tobytes() for row in rgb]
    empty = chunk(b"IDAT", b"")
    several = png(W, H, 8, 2, plain, idat_parts=7)
    first = several.index(b"IDAT") - 4
    keep("many_idat.png", several[:first] + empty + several[first:])
    # Indices 2 and 3 lie beyond a palette of two entries: black.
    index = (np.arange(W * H).reshape(H, W) % 4).astype(np.uint8)
    colours = np.array([[200, 30, 40], [20, 180, 60], [0, 0, 0], [0, 0, 0]], np.uint8)
    keep("short_palette.png",
         png(W, H, 8, 3, [row.tobytes() for row in index], before=chunk(b"PLTE", colours[:2].tobytes())),
         colours[index])
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [row.tobytes() for x, y, dx, dy in passes for row in rgb[y::dy, x::dx]]
    keep("interlaced.png", png(W, H, 8, 2, parts, interlaced=True))


def bmp(width, height, bits, rows, palette=b"", masks=b"", gap=b""):
    """Rows from top to bottom, padded here; a negative height says so in the file."""
    rows = [row + bytes(-len(row) % 4) for row in rows]
    at = 14 + 40 + len(masks) + len(palette) + len(gap)
    info = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, bits, 3 if masks else 0, 0, 0, 0, len(palette) // 4, 0)
    return (b"BM" + struct.pack("<IHHI", at + sum(map(len, rows)), 0, 0, at) + info + masks + palette + gap +
            b"".join(rows))


def bmps(rgb):
    image = Image.fromarray(rgb)
    keep("rgb.bmp", saved(image, "BMP"))
    keep("grey.bmp", saved(image.convert("L"), "BMP"))
    keep("palette.bmp", saved(image.quantize(200), "BMP"))
    keep("one_bit.bmp", saved(image.convert("1"), "BMP"))
    rgba = image.copy()
    rgba.putalpha(Image.fromarray(rgb[..., 2]))
    keep("rgba.bmp", saved(rgba, "BMP"))
    keep("top_down_gap.bmp", bmp(W, H, 24, [row[:, ::-1].tobytes() for row in rgb], gap=bytes(6)))
    r, g, b = (rgb[..., c].astype(np.uint16) for c in range(3))
    rgb555 = (r >> 3 << 10 | g >> 3 << 5 | b >> 3).astype("<u2")
    keep("rgb_555.bmp", bmp(W, H, 16, [row.tobytes() for row in rgb555]))
    rgb565 = (r >> 3 << 11 | g >> 2 << 5 | b >> 3).astype("<u2")
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    keep("rgb_565.bmp", bmp(W, H, 16, [row.tobytes() for row in rgb565], masks=masks))
    quantized = image.quantize(16)
    index = np.asarray(quantized)
    padded = np.pad(index, ((0, 0), (0, W % 2)))
    nibbles = (padded[:, 0::2] << 4 | padded[:, 1::2]).astype(np.uint8)
    colours = np.asarray(quantized.getpalette()[:48], np.uint8).reshape(16, 3)
    palette = np.dstack([colours[None, :, ::-1], np.zeros((1, 16, 1), np.uint8)]).tobytes()
    keep("palette_16.bmp", bmp(W, H, 4, [row.tobytes() for row in nibbles], palette=palette))


def resizes():
    """resize.txt: result, source, box (x0 y0 x1 y1); the result's size is in its file."""
    source = picture(61, 47, 3)
    keep("source.png", saved(Image.fromarray(source), "PNG"))
    image = Image.fromarray(source)
    cases = [
        ((32, 32), None), ((61, 20), None), ((13, 47), None), ((1, 1), None), ((100, 75), None), ((7, 5), None),
        ((62, 46), None), ((122, 94), None), ((32, 32), (3, 5, 50, 40)), ((24, 24), (0, 0, 24, 24)),
        ((24, 24), (10, 7, 34, 31)), ((31, 17), (2.3, 1.7, 47.9, 33.1)), ((40, 40), (20, 20, 29, 27)),
        ((5, 3), (0, 0, 61, 1)), ((50, 25), None), ((51, 27), None), ((90, 9), (11, 2.5, 40, 44)), ((60, 45), None),
    ]
    lines = []
    for k, (size, box) in enumerate(cases):
        ppm(f"resize_{k}", np.asarray(image.resize(size, Image.BILINEAR, box)))
        lines.append(" ".join(map(str, [f"resize_{k}", "source.png", *(box or (0, 0, 61, 47))])))
    (OUT / "resize.txt").write_text("\n".join(lines) + "\n")


def evaluations():
    """evaluation.txt: result, source, size, crop_pct; Resize and CenterCrop of torchvision."""
    lines = []
    sources = {"source.png": picture(61, 47, 3)}
    for name, (width, height) in {"portrait": (30, 71), "tiny": (5, 3), "thin": (2, 90), "exact": (32, 32)}.items():
        sources[f"{name}.png"] = picture(width, height, 4)
        keep(f"{name}.png", saved(Image.fromarray(sources[f"{name}.png"]), "PNG"))
    for name, pixels in sources.items():
        for size, crop_pct in ((32, 0.875), (33, 0.9), (20, 1.0)):
            image = Image.fromarray(pixels)
            if image.size != (size, size):
                image = F.center_crop(F.resize(image, round(size / crop_pct), F.InterpolationMode.BILINEAR), size)
            result = f"evaluation_{len(lines)}"
            ppm(result, np.asarray(image))
            lines.append(f"{result} {name} {size} {crop_pct}")
    (OUT / "evaluation.txt").write_text("\n".join(lines) + "\n")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    rgb = picture(W, H, 1)
    jpegs(rgb)
    damaged_jpegs(rgb)
    pngs(rgb)
    bmps(rgb)
    resizes()
    evaluations()


if __name__ == "__main__":
    main()
