"""Images of every kind and what Pillow and torchvision make of them.

    python tests/reference/generate_images.py

writes tests/reference/data/images/: the files, beside each its pixels as NAME.ppm (upright RGB), and the
lists damaged.txt, resize.txt and evaluation.txt. For what Pillow cannot write it needs jpegtran, tiffcp, convert and
heif-enc (Debian: libjpeg-turbo-progs, libtiff-tools, imagemagick, libheif-examples). Written with Pillow 13.0.0
(libjpeg-turbo 3.2.0), torchvision 0.26.0.
"""

import io
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin
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


def faults_behind_the_image(rgb):
    """PNGs without fault in their image data, which Pillow reads; and orientation in their text."""
    image = Image.fromarray(rgb)
    data = saved(image, "PNG")
    end = data.rindex(b"IEND") - 4
    text = chunk(b"tEXt", b"Comment\0what a camera writes")
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", (XMP % b'<x tiff:Orientation="3"/>').decode())
    packed = PngImagePlugin.PngInfo()
    packed.add_itxt("XML:com.adobe.xmp", (XMP % b"<tiff:Orientation>5</tiff:Orientation>").decode(), zip=True)
    several = png(W, H, 8, 2, [row.tobytes() for row in rgb], idat_parts=7)
    files = {
        "no_end.png": data[:end],
        "half_an_end.png": data[:end + 5],
        "text_with_wrong_crc.png": data[:end] + text[:-1] + b"?" + data[end:],
        "text_without_crc.png": data[:end] + text[:-4],
        "several_no_end.png": several[:several.rindex(b"IEND") - 4],
        "orientation_xmp.png": saved(image, "PNG", pnginfo=info),
        "orientation_packed_xmp.png": saved(image, "PNG", pnginfo=packed),
    }
    for name, content in files.items():
        keep(name, content)


def webps(rgb):
    image = Image.fromarray(rgb)
    rgba = image.copy()
    rgba.putalpha(Image.fromarray(rgb[..., 2]))
    keep("lossy.webp", saved(image, "WEBP", quality=80))
    keep("lossless.webp", saved(image, "WEBP", lossless=True))
    keep("lossy_alpha.webp", saved(rgba, "WEBP", quality=80))
    keep("lossless_alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True))
    keep("webp_named.jpg", saved(image, "WEBP", quality=60))
    keep("animation.webp", saved(image, "WEBP", save_all=True, append_images=[image.transpose(0)], lossless=True))
    exif = Image.Exif()
    exif[0x0112] = 6
    keep("orientation_6.webp", saved(image, "WEBP", exif=exif))
    keep("orientation_xmp.webp", saved(image, "WEBP", xmp=XMP % b'<x tiff:Orientation="8"/>'))


def tiffs(rgb):
    image = Image.fromarray(rgb)
    grey = image.convert("L")
    rgba = image.copy()
    rgba.putalpha(Image.fromarray(rgb[..., 2]))
    cmyk = image.convert("CMYK")
    keep("rgb.tif", saved(image, "TIFF"))
    keep("grey.tif", saved(grey, "TIFF", compression="tiff_lzw"))
    keep("rgba.tif", saved(rgba, "TIFF", compression="tiff_adobe_deflate"))
    keep("cmyk.tif", saved(cmyk, "TIFF", compression="packbits"))
    keep("palette.tif", saved(image.quantize(50), "TIFF", compression="tiff_lzw"))
    keep("fax.tif", saved(grey.convert("1"), "TIFF", compression="group4"))
    keep("one_bit.tif", saved(grey.convert("1"), "TIFF"))
    keep("jpeg.tif", saved(image, "TIFF", compression="jpeg", quality=85))
    keep("two_pages.tif", saved(image, "TIFF", save_all=True, append_images=[grey]))
    keep("orientation_6.tif", saved(image, "TIFF", tiffinfo={274: 6}))
    keep("orientation_7.tif", saved(image, "TIFF", tiffinfo={274: 7}, compression="tiff_lzw"))
    wide = Image.fromarray(rgb[..., 0].astype(np.uint16) * 256 + rgb[..., 1])
    keep("grey_16.tif", saved(wide, "TIFF", compression="tiff_lzw"), np.repeat(rgb[..., :1], 3, -1))
    with tempfile.TemporaryDirectory() as folder:
        def tiffcp(name, data, *options):
            (Path(folder) / "in.tif").write_bytes(data)
            subprocess.run(["tiffcp", *options, "in.tif", "out.tif"], check=True, cwd=folder)
            keep(name, (Path(folder) / "out.tif").read_bytes())

        plain = saved(image, "TIFF")
        tiffcp("tiles.tif", plain, "-t", "-w", "16", "-l", "32")
        tiffcp("tiles_lzw.tif", plain, "-t", "-w", "32", "-l", "16", "-c", "lzw:2")
        tiffcp("planes.tif", plain, "-p", "separate", "-r", "8")
        tiffcp("plane_tiles.tif", plain, "-p", "separate", "-t", "-w", "16", "-l", "16", "-c", "zip")
        tiffcp("big_endian.tif", plain, "-B", "-r", "5")
        tiffcp("big_tiff.tif", plain, "-8", "-c", "zip")
        # Luminance and chrominance, of which libtiff makes colours for Pillow, too, where they are compressed.
        luminance = saved(image.convert("YCbCr"), "TIFF", compression="tiff_lzw")
        keep("ycbcr.tif", luminance)
        tiffcp("ycbcr_tiles.tif", luminance, "-t", "-w", "16", "-l", "16", "-c", "lzw")
        tiffcp("ycbcr_jpeg.tif", plain, "-r", "16", "-c", "jpeg:90")
        ppm16 = b"P6\n%d %d\n65535\n" % (W, H) + (rgb.astype(np.uint16) * 256 + rgb[::-1]).astype(">u2").tobytes()
        rgb16 = subprocess.run(["convert", "ppm:-", "tif:-"], input=ppm16, check=True, capture_output=True).stdout
        keep("rgb_16.tif", rgb16, rgb)
    associated = np.dstack([(rgb.astype(int) * rgb[..., 2:] // 255), rgb[..., 2]]).astype(np.uint8)
    data = bytearray(saved(Image.fromarray(associated), "TIFF"))
    at = data.index(struct.pack("<HHI", 338, 3, 1))
    data[at + 8] = 1  # the extra sample is an alpha that the colours have been multiplied by
    keep("premultiplied.tif", bytes(data))


def gifs(rgb):
    image = Image.fromarray(rgb)
    keep("rgb.gif", saved(image, "GIF"))
    keep("grey.gif", saved(image.convert("L"), "GIF"))
    keep("seven_colours.gif", saved(image.quantize(7), "GIF"))
    keep("interlaced.gif", saved(image.quantize(200), "GIF", interlace=1))
    other = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    keep("animation.gif", saved(image, "GIF", save_all=True, append_images=[other]))
    rgba = image.copy()
    rgba.putalpha(Image.fromarray(rgb[..., 2]))
    keep("transparent.gif", saved(rgba, "GIF"))
    data = bytearray(saved(image.quantize(30), "GIF", interlace=0))
    data[6:10] = struct.pack("<HH", W + 5, H + 3)  # a screen larger than its frame
    keep("small_frame.gif", bytes(data))


def pnms(rgb):
    image = Image.fromarray(rgb)
    keep("raw.ppm", saved(image, "PPM"))
    keep("raw.pgm", saved(image.convert("L"), "PPM"))
    keep("raw.pbm", saved(image.convert("1"), "PPM"))
    for most in (7, 100, 1023, 65535):
        values = rgb.astype(np.uint32) * most // 255
        kind = ">u2" if most > 255 else "u1"
        head = b"P%%d # a comment\n%d %d\n%d\n" % (W, H, most)
        text = lambda a: b" ".join(b"%d" % v for v in a.ravel()) + b"\n"
        keep(f"white_{most}.ppm", head % 6 + values.astype(kind).tobytes())
        keep(f"plain_white_{most}.ppm", head % 3 + text(values))
        one = values[..., 0]
        high = np.repeat((np.rint(one / most * 65535).astype(int) >> 8)[..., None], 3, -1) if most > 255 else None
        keep(f"white_{most}.pgm", head % 5 + one.astype(kind).tobytes(), high)
        keep(f"plain_white_{most}.pgm", head % 2 + text(one), high)
    keep("plain.pbm", b"P1\n%d %d\n" % (W, H) + b"".join(b"%d" % v for v in (rgb[..., 0] > 128).ravel()))


def heifs(rgb):
    """Another library than Pillow's: nearly its pixels. HEIC, which it does not read, beside those of the source."""
    image = Image.fromarray(rgb)
    keep("colour.avif", saved(image, "AVIF", quality=95, subsampling="4:4:4"))
    keep("subsampled.avif", saved(image, "AVIF", quality=95, subsampling="4:2:0"))
    keep("grey.avif", saved(image.convert("L"), "AVIF", quality=95))
    exif = Image.Exif()
    exif[0x0112] = 6
    keep("orientation_6.avif", saved(image, "AVIF", quality=95, exif=exif))
    with tempfile.TemporaryDirectory() as folder:
        image.save(f"{folder}/in.png")
        subprocess.run(["heif-enc", "-q", "95", "in.png", "-o", "out.heic"], check=True, cwd=folder,
                       capture_output=True)
        keep("colour.heic", (Path(folder) / "out.heic").read_bytes(), rgb)


def run_length(index, bits):
    """Runs, pixels as they are, row ends, a step to the right and up, and the end of the picture."""
    out = bytearray()
    for row in index:
        x = 0
        while x < len(row):
            same = 1
            while x + same < len(row) and row[x + same] == row[x] and same < 255:
                same += 1
            if same > 1 or len(row) - x < 4:
                out += bytes([same, row[x] * 17 if bits == 4 else row[x]])
                x += same
                continue
            n = min(len(row) - x, 5)
            part = [int(v) for v in row[x:x + n]]
            data = bytes(part) if bits == 8 else bytes(a << 4 | b for a, b in zip(part[::2], [*part[1::2], 0]))
            out += bytes([0, n]) + data + bytes(len(data) % 2)
            x += n
        out += b"\0\0"
    return bytes(out) + b"\0\1"


def run_length_bmps(rgb):
    for bits, colours in ((8, 60), (4, 12)):
        quantized = Image.fromarray(rgb).quantize(colours)
        index = np.asarray(quantized).copy()
        index[5:9, 3:20] = 2
        palette = np.asarray(quantized.getpalette()[:colours * 3], np.uint8).reshape(-1, 3)
        entries = b"".join(bytes([b, g, r, 0]) for r, g, b in palette)
        data = run_length(index, bits)
        step = b"\0\2\5\1" + b"\3\1" + b"\0\0"  # from the first row to the second, five to the right, and a run
        for name, coded in (("", data), ("_step", step + data)):
            info = struct.pack("<IiiHHIIiiII", 40, W, H, 1, bits, 1 if bits == 8 else 2, len(coded), 0, 0, colours, 0)
            at = 14 + 40 + len(entries)
            keep(f"run_length_{bits}{name}.bmp",
                 b"BM" + struct.pack("<IHHI", at + len(coded), 0, 0, at) + info + entries + coded)


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
    faults_behind_the_image(rgb)
    bmps(rgb)
    run_length_bmps(rgb)
    webps(rgb)
    tiffs(rgb)
    gifs(rgb)
    pnms(rgb)
    heifs(rgb)
    resizes()
    evaluations()


if __name__ == "__main__":
    main()
